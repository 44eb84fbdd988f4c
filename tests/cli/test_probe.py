"""`vtok probe`: the figures by length, the record, and what is refused before the work."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.cli.samples import files_under
from tests.cli.terminal import as_terminal
from tests.conftest import CHECKOUT
from tests.threads import threads
from vtok.cli import report
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.one_d_piece import OneDPiece
from vtok.tokenizers.titok_vae import TitokVae

COLOURS = np.array([(230, 30, 30), (30, 230, 30), (30, 30, 230)])  # one a class


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The pictures are small."""
    with threads(1):
        yield


def png(label, seed, side=16):
    """The colour of a class, with noise."""
    noise = np.random.default_rng(seed).integers(-25, 26, (side, side, 3))
    buffer = io.BytesIO()
    Image.fromarray((COLOURS[label] + noise).astype(np.uint8)).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def table(tmp_path):
    """Write a parquet table of pictures, with labels and names of classes unless told otherwise."""
    pa = pytest.importorskip("pyarrow", reason="needs the extra `eval`")
    import pyarrow.parquet as pq

    def write(name, count, *, seed=0, pictures=None, labels=True, names=("a", "b", "c")):
        numbers = [i % 3 for i in range(count)]
        rows = [{"bytes": (pictures or {}).get(i, png(n, seed + i)), "path": f"{i}.png"} for i, n in enumerate(numbers)]
        columns = {"image": rows} | ({"label": numbers} if labels else {})
        found = pa.table(columns)
        if labels and names:
            features = {"label": {"names": list(names), "_type": "ClassLabel"}}
            found = found.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(found, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def train(table):
    return table("train.parquet", 30)


@pytest.fixture
def valid(table):
    return table("valid.parquet", 12, seed=1000)


def test_json_has_a_row_for_each_length_and_what_it_was_measured_with(vtok, model, train, valid):
    result = vtok("probe", model, train, valid, "--tokens", "1,4,all", "--json")
    (record,) = result.records
    assert (result.code, result.err) == (0, "")
    assert [row["tokens"] for row in record["rows"]] == [1, 4, 8]
    assert all(row["linear_top1"] == row["knn_top1"] == row["linear_top5"] == 1.0 for row in record["rows"][1:])
    assert record["train"] == {"name": "train.parquet", "pictures": 30, "failed": 0}
    assert record["valid"] == {"name": "valid.parquet", "pictures": 12, "failed": 0}
    assert (record["classes"], record["pool"], record["crop"]) == (3, "mean", "center")
    assert record["code_digest"] == LinearTokenizer.tiny().code_digest
    assert all(row["penalty"] in record["penalties"] for row in record["rows"])
    assert {"torch", "vtok", "python"} <= record["versions"].keys()
    pixels, chance = record["baselines"]
    assert (pixels["name"], pixels["linear_top1"], pixels["num_features"]) == ("pixels 8x8", 1.0, 192)
    assert chance == {"name": "chance", "linear_top1": 1 / 3, "linear_top5": 1.0, "knn_top1": 1 / 3}


def test_the_table_has_lengths_and_baselines(vtok, model, train, valid):
    result = vtok("probe", model, train, valid, "--tokens", "all")
    assert (result.code, result.err) == (0, "")
    head, row, pixels, chance, measured = result.out.decode().splitlines()
    assert head.split() == ["tokens", "linear", "top-1", "linear", "top-5", "k-NN", "top-1"]
    assert row.split() == ["8", "100.00%", "100.00%", "100.00%"]
    assert pixels.split()[:2] == ["pixels", "8x8"]
    assert chance.split() == ["chance", "33.33%", "100.00%", "33.33%"]
    assert measured == "Measured on 12 pictures of valid.parquet, 3 classes; learnt from 30 of train.parquet; positions: mean"


def test_the_record_is_written_too(vtok, model, train, valid, tmp_path):
    result = vtok("probe", model, train, valid, "--tokens", "1", "--json", "-o", tmp_path / "probe.json")
    assert json.loads((tmp_path / "probe.json").read_text()) == result.records[0]


def test_positions_side_by_side_are_more_features(vtok, tmp_path, train, valid):
    OneDPiece.tiny().save_pretrained(tmp_path / "strings")
    widths = {}
    for pool in ("mean", "concatenated"):
        (record,) = vtok("probe", tmp_path / "strings", train, valid, "--tokens", "all", "--pool", pool, "--json").records
        widths[pool] = record["rows"][0]["num_features"]
    assert widths["concatenated"] == OneDPiece.tiny().spec.max_tokens * widths["mean"]


def test_continuous_models_have_embeddings_too(vtok, tmp_path, train, valid):
    TitokVae.tiny().save_pretrained(tmp_path / "vae")
    (record,) = vtok("probe", tmp_path / "vae", train, valid, "--json").records
    assert [row["tokens"] for row in record["rows"]] == [TitokVae.tiny().spec.num_tokens]
    assert "code_digest" not in record


def test_batches_do_not_matter(vtok, model, train, valid):
    first, second = (vtok("probe", model, train, valid, "--batch", batch, "--json").records for batch in (1, 7))
    assert first == second


def test_fewer_pictures_are_spread_over_the_data(vtok, model, train, valid):
    (record,) = vtok("probe", model, train, valid, "--tokens", "1", "--count", 20, "--count-valid", 5, "--json").records
    assert (record["train"]["pictures"], record["valid"]["pictures"]) == (20, 5)


def test_whole_pictures_are_resized(vtok, model, train, valid):
    (record,) = vtok("probe", model, train, valid, "--tokens", "1", "--whole", "--json").records
    assert record["crop"] == "whole"


def test_classes_are_matched_by_name(vtok, model, table, train):
    swapped = table("swapped.parquet", 12, seed=1000, names=("b", "c", "a"))
    (record,) = vtok("probe", model, train, swapped, "--tokens", "all", "--json").records
    assert record["rows"][0]["linear_top1"] == 0.0  # each name now stands for the colour of another


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_broken_pictures_are_listed_with_exit_code_3(vtok, model, table, valid, options):
    train = table("broken.parquet", 30, pictures={4: b"junk"})
    result = vtok("probe", model, train, valid, "--tokens", "all", *options)
    assert result.code == 3
    assert result.err.startswith("vtok: 1 of 42 pictures failed:\n")
    assert "4.png" in result.err
    assert result.err.count("\n") == 2
    assert b"29" in result.out


def test_a_wait_of_more_than_two_seconds_has_a_bar(vtok, model, train, valid, monkeypatch):
    seconds = iter(range(1000))
    monkeypatch.setattr(report, "monotonic", lambda: next(seconds))
    terminal = as_terminal(monkeypatch)
    assert vtok("probe", model, train, valid, "--tokens", "1").code == 0
    assert "%" in terminal.getvalue()


def test_the_commands_of_the_page_on_probes_work(vtok, tmp_path, train, valid, monkeypatch):  # noqa: ARG001 - read by the commands
    OneDPiece.tiny().save_pretrained(tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    page = (CHECKOUT / "docs" / "downstream.md").read_text(encoding="utf-8")
    commands = page.split("```\n")[1].splitlines()
    assert len(commands) == 3
    for command in commands:
        result = vtok(*command.split()[1:])
        assert (result.code, result.err) == (0, ""), command
    assert json.loads((tmp_path / "probe.json").read_text())["model"] == "photo64"


class TestRefusals:
    @pytest.fixture
    def refused(self, vtok, tmp_path):
        """The one line of a command that must leave all files as they are."""

        def run(*arguments):
            before = {name: (tmp_path / name).read_bytes() for name in files_under(tmp_path)}
            result = vtok("probe", *arguments)
            assert (result.code, result.out) == (2, b"")
            assert {name: (tmp_path / name).read_bytes() for name in files_under(tmp_path)} == before
            return result.line

        return run

    def test_pictures_without_labels(self, refused, model, table, train):
        bare = table("bare.parquet", 3, labels=False)
        for arguments in ((bare, train), (train, bare)):
            assert "has no label; a probe needs a class for every picture" in refused(model, *arguments)

    def test_a_folder_of_pictures(self, refused, model, tmp_path, train):
        (tmp_path / "pictures").mkdir()
        (tmp_path / "pictures" / "a.png").write_bytes(png(0, 0))
        assert "a.png has no label" in refused(model, train, tmp_path / "pictures")

    def test_classes_that_were_not_learnt(self, refused, model, table, train):
        assert "'x' for one" in refused(model, train, table("other.parquet", 3, names=("a", "b", "x")), "--tokens", "1")

    def test_pictures_of_which_none_can_be_read(self, refused, model, table, valid):
        junk = table("junk.parquet", 2, pictures={0: b"junk", 1: b"junk"})
        assert "no picture could be read; " in refused(model, junk, valid)

    def test_a_length_that_does_not_decode(self, refused, model, train, valid):
        assert "9 tokens do not decode here" in refused(model, train, valid, "--tokens", "9")

    def test_no_such_data(self, refused, model, train, tmp_path):
        assert "no such file or folder" in refused(model, train, tmp_path / "none.parquet")

    def test_a_record_that_is_no_json(self, refused, model, train, valid):
        assert "the record is a .json file" in refused(model, train, valid, "-o", train)

    def test_a_folder_that_is_not_there(self, refused, model, train, valid, tmp_path):
        assert "does not exist; create it first" in refused(model, train, valid, "-o", tmp_path / "none" / "probe.json")

    @pytest.mark.parametrize("option", ["--count", "--count-valid", "--batch"])
    def test_none_of_something(self, vtok, model, train, valid, option):
        assert vtok("probe", model, train, valid, option, 0).code == 2

    def test_another_way_of_pooling(self, vtok, model, train, valid):
        assert vtok("probe", model, train, valid, "--pool", "max").code == 2
