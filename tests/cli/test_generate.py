"""`vtok tokenize`, `vtok train` and `vtok generate`, one after another, and what each refuses."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.cli.samples import files_under, pixels
from tests.threads import threads

TRUNK = "gpt.network.trunk={dim = 16, depth = 1, heads = 2, hidden = 16}"


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The networks are small."""
    with threads(1):
        yield


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Twelve pictures of two classes."""
    folder = tmp_path_factory.mktemp("album")
    for number in range(12):
        place = folder / ("cats", "dogs")[number % 2]
        place.mkdir(exist_ok=True)
        Image.fromarray(pixels(20, 24, seed=number)).save(place / f"{number:02d}.png")
    return folder


@pytest.fixture
def shards(vtok, album, model, tmp_path):
    result = vtok("tokenize", album, "-o", tmp_path / "shards", "--model", model, "--classes", "folder", "--views", 4, "--shard-size", 5)
    assert result.code == 0, result.err
    assert "loader alone" in result.err
    return tmp_path / "shards"


def trained(vtok, shards, folder, *settings):
    own = [part for setting in settings for part in ("--set", setting)]
    common = ["--set", f"data.path={shards}", "--set", "train.steps=3", "--set", TRUNK, "--set", "train.trackers=[]"]
    result = vtok("train", "gpt_smoke", "-o", folder, "-q", *common, *own)
    assert result.code == 0, result.err
    return folder


@pytest.fixture
def generator(vtok, shards, tmp_path):
    """Trained for three steps, with classes."""
    return trained(vtok, shards, tmp_path / "generator", "gpt.classes=true")


def test_pictures_become_strings_a_generator_and_new_pictures(vtok, generator, tmp_path):
    out = tmp_path / "new"
    result = vtok("generate", generator, "-o", out, "--num", 3, "--class", "dogs", "--class", 0, "--guidance", 2, "--json")
    assert result.code == 0, result.err
    assert [record["class"] for record in result.records] == [1, 0, 1]
    assert files_under(out) == sorted(["grid.png", *(f"{i:05d}.{ending}" for i in range(3) for ending in ("png", "vtok"))])
    assert np.asarray(Image.open(out / "00001.png")).shape == (16, 16, 3)


def test_a_generated_string_is_a_file_like_any_other(vtok, generator, model, tmp_path):
    vtok("generate", generator, "-o", tmp_path / "new", "--num", 1, "-q")
    assert vtok("info", tmp_path / "new" / "00000.vtok").code == 0
    result = vtok("decode", tmp_path / "new" / "00000.vtok", "-o", tmp_path / "again.png", "--model", model)
    assert result.code == 0, result.err
    assert np.array_equal(np.asarray(Image.open(tmp_path / "again.png")), np.asarray(Image.open(tmp_path / "new" / "00000.png")))


def test_a_picture_does_not_depend_on_those_beside_it(vtok, generator, tmp_path):
    vtok("generate", generator, "-o", tmp_path / "many", "--num", 4, "--class", 1, "--batch-size", 3, "-q")
    vtok("generate", generator, "-o", tmp_path / "one", "--num", 1, "--class", 1, "--seed", 2, "-q")
    assert (tmp_path / "many" / "00002.vtok").read_bytes() == (tmp_path / "one" / "00000.vtok").read_bytes()


def test_lengths_are_columns_of_the_same_strings(vtok, generator, tmp_path):
    result = vtok("generate", generator, "-o", tmp_path / "new", "--num", 2, "--tokens", "1,4,8", "--json", "-q")
    assert [record["tokens"] for record in result.records] == [1, 1, 4, 4, 8, 8]
    vtok("truncate", tmp_path / "new" / "00000-02.vtok", "-o", tmp_path / "short.vtok", "--tokens", 4)
    assert (tmp_path / "short.vtok").read_bytes() == (tmp_path / "new" / "00000-01.vtok").read_bytes()


def test_a_photograph_is_completed_and_mixed_with_another(vtok, generator, album, tmp_path):
    first, second = album / "cats" / "00.png", album / "dogs" / "01.png"
    result = vtok("generate", generator, "-o", tmp_path / "done", "--complete", first, "--keep", "2,4", "--num", 2, "--json", "-q")
    assert [record["column"] for record in result.records[::2]] == ["all its tokens", "first 2, rest drawn", "first 4, rest drawn"]
    result = vtok("generate", generator, "-o", tmp_path / "mixed", "--complete", first, "--rest", second, "--keep", "1,4", "--json", "-q")
    assert [record["column"] for record in result.records] == ["01", "first 1", "first 4", "00"]


def test_a_generator_without_classes_makes_any_picture(vtok, shards, tmp_path):
    folder = trained(vtok, shards, tmp_path / "free")
    assert vtok("generate", folder, "-o", tmp_path / "new", "--num", 2, "-q").code == 0
    for arguments, message in {
        ("--class", 1): "knows no classes; leave --class out",
        ("--guidance", 2): "has no 'no condition', so it cannot be guided",
    }.items():
        result = vtok("generate", folder, "-o", tmp_path / "refused", *arguments)
        assert (result.code, message in result.line) == (2, True), result.err
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tokens", 9], "9 tokens do not decode here; lengths that do: 1 to"),
        (["--class", 2], "class 2 asked, this generator knows 0 to 1"),
        (["--class", "dog"], "no class 'dog'; did you mean dogs?"),
        (["--temperature", "inf"], "temperature must be 0 or more"),
        (["--schedule", "cos"], "no schedule of guidance 'cos'; there are: constant"),
        (["--steps", 3], "the family gpt has no steps; it has: temperature"),
        (["--complete", "nowhere.png"], "nowhere.png"),
        (["--tokenizer", "photo64"], "gives ids another meaning"),
    ],
)
def test_what_cannot_be_made_is_said_in_a_line(vtok, generator, tmp_path, arguments, message):
    result = vtok("generate", generator, "-o", tmp_path / "refused", *arguments)
    assert (result.code, message in result.line) == (2, True), result.err
    assert not (tmp_path / "refused").exists()


def test_more_kept_than_there_is_leaves_nothing_to_draw(vtok, generator, album, tmp_path):
    photo = album / "cats" / "00.png"
    result = vtok("generate", generator, "-o", tmp_path / "refused", "--complete", photo, "--keep", 8)
    assert (result.code, "keep 1 to 7" in result.line) == (2, True), result.err


def test_published_generators_are_drawn_from_as_published():
    from vtok.generate.published import PUBLISHED
    from vtok.weights import TABLE

    assert PUBLISHED.keys() == {name for name, row in TABLE.items() if row.tokenizer is not None}


def test_a_tokenizer_generates_nothing(vtok, model, tmp_path):
    result = vtok("generate", model, "-o", tmp_path / "new")
    assert (result.code, "is no generator but a tokenizer (family linear)" in result.line) == (2, True)


def test_the_strings_of_another_tokenizer_are_refused(vtok, generator, other_model, tmp_path):
    result = vtok("generate", generator, "-o", tmp_path / "new", "--tokenizer", other_model)
    assert (result.code, "gives ids another meaning" in result.line) == (2, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.kind=folder"], "data.kind is folder, but gpt is trained on strings of tokens"),
        (["data.path=''"], "data.path is empty"),
        (["gpt.classes=true", "gpt.num_classes=1"], "num_classes is 1, but"),
        (["train.validation.every=1", "train.validation.lengths=[99]"], "99 tokens do not decode here"),
    ],
)
def test_trainings_that_cannot_be_are_refused(vtok, shards, tmp_path, settings, message):
    own = [part for setting in [f"data.path={shards}", TRUNK, *settings] for part in ("--set", setting)]
    result = vtok("train", "gpt_smoke", "-o", tmp_path / "run", "-q", *own)
    assert (result.code, message in result.line) == (2, True), result.err


def test_tokenizers_are_not_trained_on_strings(vtok, shards, tmp_path):
    result = vtok("train", "smoke", "-o", tmp_path / "run", "--set", "data.kind=tokens", "--set", f"data.path={shards}")
    assert (result.code, "but nested is trained on pictures, not tokens" in result.line) == (2, True), result.err


def test_unfinished_shards_are_not_trained_on(vtok, shards, tmp_path):
    (shards / "tokens.json").unlink()
    result = vtok("train", "gpt_smoke", "-o", tmp_path / "run", "--set", f"data.path={shards}")
    assert (result.code, "no finished token shards" in result.line) == (2, True), result.err


def test_a_run_goes_on_to_the_same_weights(vtok, shards, tmp_path):
    common = ["--set", f"data.path={shards}", "--set", TRUNK, "--set", "train.trackers=[]", "--set", "train.checkpoint_every=2"]
    constant = ["--set", "gpt.optimizer.warmup_steps=0", "--set", "gpt.optimizer.final_share=1"]
    for folder, steps in (("cut", 2), ("cut", 4), ("whole", 4)):
        assert vtok("train", "gpt_smoke", "-o", tmp_path / folder, "-q", *common, *constant, "--set", f"train.steps={steps}").code == 0
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("cut", "whole"))
    assert first == second


@pytest.mark.parametrize("recipe", ["maskgit_smoke", "rar_smoke"])
def test_other_generators_are_trained_and_draw_too(vtok, shards, tmp_path, recipe):
    name = recipe.removesuffix("_smoke")
    sizes = [f"{name}.network.{key}={value}" for key, value in {"dim": 16, "depth": 2, "heads": 2, "hidden": 16}.items()]
    own = [part for setting in [f"data.path={shards}", f"{name}.classes=true", "train.steps=3", *sizes] for part in ("--set", setting)]
    assert vtok("train", recipe, "-o", tmp_path / "run", "-q", *own, "--set", "train.trackers=[]").code == 0
    result = vtok("generate", tmp_path / "run", "-o", tmp_path / "new", "--num", 2, "--tokens", "1,8", "--json", "-q")
    assert (result.code, [record["tokens"] for record in result.records]) == (0, [1, 1, 8, 8]), result.err


def test_tokenize_lists_what_failed_with_exit_code_3(vtok, model, tmp_path):
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "bad.png").write_bytes(b"junk")
    Image.fromarray(pixels(20, 24)).save(tmp_path / "mixed" / "good.png")
    for _ in range(2):
        result = vtok("tokenize", tmp_path / "mixed", "-o", tmp_path / "shards", "--model", model, "--json", "-q")
        assert (result.code, result.records[0]["strings"]) == (3, 1)
        assert "1 pictures failed" in result.err
    assert len(json.loads((tmp_path / "shards" / "tokens.json").read_text())["failed"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rank", 1], "give --world-size too"),
        (["--tokens", 99], "99 tokens do not decode here"),
        (["--engine", "ray", "--rank", 0, "--world-size", 2], "shares the work by itself"),
    ],
)
def test_what_cannot_be_tokenized_is_said(vtok, album, model, tmp_path, arguments, message):
    result = vtok("tokenize", album, "-o", tmp_path / "shards", "--model", model, *arguments)
    assert (result.code, message in result.err) == (2, True), result.err
    assert not (tmp_path / "shards").exists()
