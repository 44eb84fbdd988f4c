"""The ablation of `nested` at a very small size, on synthetic pictures."""

import json

import pytest

from benchmarks import nested_ablation
from benchmarks.nested_ablation import VARIANTS
from tests.threads import threads
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.prefix import Pair
from vtok.train.config import load_config
from vtok.train.objectives.nested import NestedObjectiveConfig

TRAINED = ("pair-of-pow2_unaligned_linear", "uniform_random")
SETTINGS = (
    "data.num_synthetic=20",
    "nested.model.encoder={dim=8, depth=1, heads=2}",
    "nested.model.decoder={dim=8, depth=1, heads=2}",
    "nested.linear.codebook_size=8",
    "nested.linear.num_tiles=400",
    "nested.linear.rounds=1",
    "nested.linear.max_components=16",
)
OPTIONS = ("--recipe", "smoke", "--steps", "2", "--batch", "2", "--crop", "32", "--lengths", "1", "16", "--pictures", "2", "--no-lpips")


def measure(folder, monkeypatch, *more):
    """The result of the script with its runs in `folder`."""
    settings = [word for text in SETTINGS for word in ("--set", text)]
    target = folder / "result.json"
    monkeypatch.setattr("sys.argv", ["nested_ablation", *OPTIONS, *settings, "--folder", str(folder / "runs"), "-o", str(target), *more])
    with threads(1):
        nested_ablation.main()
    return json.loads(target.read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of two variants and their result."""
    folder = tmp_path_factory.mktemp("ablation")
    with pytest.MonkeyPatch.context() as monkeypatch:
        return folder, measure(folder, monkeypatch, "--variants", *TRAINED)


def model_of(folder, variant):
    return Tokenizer.from_pretrained(next(path for path in (folder / "runs").glob(f"{variant}-*") if path.is_dir()))


def test_the_table_has_each_rule_with_and_without_all_that_it_can_have():
    facts = [(variant.prefix, variant.alignment, variant.linear) for variant in VARIANTS.values()]
    singles = {(rule, None, linear) for rule in ("uniform", "pow2") for linear in (True, False)}
    pairs = {(f"pair of {rule}", on, linear) for rule in ("uniform", "pow2") for on in (True, False) for linear in (True, False)}
    assert len(facts) == 12
    assert set(facts) == singles | pairs


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_settings_of_a_variant_are_what_it_is_called(variant, tmp_path):
    settings = [*nested_ablation.SMALL, *variant.overrides(LinearTokenizer.tiny(), tmp_path)]
    config = NestedObjectiveConfig.model_validate(load_config("photo64", settings).settings())
    paired = isinstance(config.prefix, Pair)
    assert (f"pair of {config.prefix.of.rule}" if paired else config.prefix.rule) == variant.prefix
    assert config.start == (str(tmp_path) if variant.linear else "random")
    assert config.alignment == (0 if variant.alignment is False else 1)
    assert paired == (variant.alignment is not None)


def test_each_variant_gets_a_row_with_its_figures(finished):
    _, result = finished
    assert [(row["prefix"], row["alignment"], row["start"]) for row in result["variants"]] == [
        ("pair of pow2", False, "linear"),
        ("uniform", None, "random"),
    ]
    figures = [{key: value for key, value in row.items() if key.startswith("psnr")} for row in (result["untrained"], *result["variants"])]
    assert all(row.keys() == {"psnr_1", "psnr_16"} for row in figures)
    assert len({tuple(row.values()) for row in figures}) == 3


def test_a_random_start_has_the_tokens_of_the_linear_one_and_one_table(finished):
    linear, random = (model_of(finished[0], variant) for variant in TRAINED)
    assert linear.spec == random.spec
    assert linear.config.encoder == random.config.encoder
    assert (linear.config.linear, random.config.linear) == (True, False)
    assert random.config.quantizer.shared


def test_what_is_finished_is_not_run_again(finished, monkeypatch):
    folder, before = finished
    monkeypatch.delattr(nested_ablation, "run")
    assert measure(folder, monkeypatch, "--variants", *TRAINED)["variants"] == before["variants"]


def test_a_row_of_other_settings_is_not_taken(finished, monkeypatch):
    folder, before = finished
    row = measure(folder, monkeypatch, "--variants", TRAINED[0], "--set", "nested.network.learning_rate=0.1")["variants"][0]
    assert row["psnr_16"] != before["variants"][0]["psnr_16"]


def test_a_start_that_is_given_is_not_fitted(finished, tmp_path, monkeypatch):
    folder, before = finished
    start = next((folder / "runs").glob("linear-*"))
    result = measure(tmp_path, monkeypatch, "--start", str(start), "--variants", TRAINED[0])
    assert result["untrained"] == before["untrained"]
    assert result["variants"] == before["variants"][:1]
    assert not list((tmp_path / "runs").glob("linear-*"))


def test_a_result_is_printed_as_a_table(tmp_path, monkeypatch, capsys):
    variants = [
        {"prefix": "uniform", "alignment": None, "start": "random", "psnr_4": 19.126, "lpips_4": 0.5004},
        {"prefix": "pair of pow2", "alignment": True, "start": "linear", "psnr_4": 21.0, "lpips_4": 0.4},
    ]
    file = tmp_path / "result.json"
    file.write_text(json.dumps({"untrained": {"psnr_4": 20.5, "lpips_4": 0.45}, "variants": variants}))
    monkeypatch.setattr("sys.argv", ["nested_ablation", "--markdown", str(file)])
    nested_ablation.main()
    assert capsys.readouterr().out.splitlines() == [
        "| prefix rule | alignment | start | PSNR at 4 | LPIPS at 4 |",
        "| --- | --- | --- | --: | --: |",
        "| none, untrained |  | linear | 20.50 | 0.450 |",
        "| uniform |  | random | 19.13 | 0.500 |",
        "| pair of pow2 | on | linear | 21.00 | 0.400 |",
    ]
