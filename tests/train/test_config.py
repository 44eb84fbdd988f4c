"""Recipes: read, changed by `--set`, checked."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vtok.errors import ConfigError
from vtok.train.config import RunConfig, check, load_config
from vtok.train.objectives.linear import LinearObjectiveConfig

RECIPE = """
objective = "linear"
seed = 3

[data]
path = "somewhere"
max_side = 256

[linear]
autoencoder = "pixels"
tile_size = 32

[linear.metric]
kind = "latents"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def linear(config: RunConfig) -> LinearObjectiveConfig:
    return check(LinearObjectiveConfig, config.settings(), "[linear]")


def test_a_file_is_read_with_defaults_for_the_rest(recipe: Path) -> None:
    config = load_config(recipe)
    assert (config.objective, config.seed, config.threads) == ("linear", 3, 0)
    assert (config.data.path, config.data.max_side, config.data.kind, config.data.split) == ("somewhere", 256, "auto", "all")
    assert config.settings() == {"autoencoder": "pixels", "tile_size": 32, "metric": {"kind": "latents"}}


def test_a_file_may_be_named_by_text(recipe: Path) -> None:
    assert load_config(str(recipe)) == load_config(recipe)


def test_a_recipe_in_the_folder_at_hand_does_not_hide_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "smoke-linear").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_config("smoke-linear").data.kind == "synthetic"


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=5", "seed", 5),
        ("seed = 5", "seed", 5),
        ("threads=0x2", "threads", 2),
        ("data.path=/pictures/of me", "data.path", "/pictures/of me"),
        ('data.path="quoted"', "data.path", "quoted"),
        ("data.path=a=b", "data.path", "a=b"),
        ("data.path=", "data.path", ""),
        ("data.path=~/Pictures/2024", "data.path", "~/Pictures/2024"),
        ("data.split=held_out", "data.split", "held_out"),
        ("data.path=2021-05-01", "data.path", "2021-05-01"),
        ("data.path=10:30:00", "data.path", "10:30:00"),
        pytest.param(f"data.path={'[' * 5000}", "data.path", "[" * 5000, id="brackets"),
    ],
)
def test_a_value_is_set_by_its_dotted_key(recipe: Path, override: str, path: str, value: Any) -> None:
    found: Any = load_config(recipe, [override])
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


def test_a_folder_named_by_a_number_is_a_path(recipe: Path) -> None:
    assert load_config(recipe, ["data.path=2024"]).data.path == "2024"


def test_values_of_the_objective_are_set_too(recipe: Path) -> None:
    overrides = ["linear.metric.floor=0.5", "linear.rounds=2", "linear.metric.kind=decoder", "linear.tile_size=16"]
    settings = linear(load_config(recipe, overrides))
    assert (settings.metric.floor, settings.metric.kind, settings.rounds, settings.tile_size) == (0.5, "decoder", 2, 16)
    assert settings.autoencoder == "pixels"


def test_the_last_of_two_settings_of_a_key_holds(recipe: Path) -> None:
    assert load_config(recipe, ["seed=1", "seed=2"]).seed == 2


def test_a_section_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text('objective = "linear"')
    assert linear(load_config(path, ["linear.metric.floor=0.5"])).metric.floor == 0.5


def test_the_file_itself_is_left_as_it_is(recipe: Path) -> None:
    load_config(recipe, ["seed=9"])
    assert recipe.read_text(encoding="utf-8") == RECIPE


@pytest.mark.parametrize("override", ["seed", "=3", "", "seed.=3", ".seed=3", "data..path=x"])
def test_an_override_that_is_none_is_one_line(recipe: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=r"--set takes a\.b=VALUE, got"):
        load_config(recipe, [override])


def test_a_value_is_no_section(recipe: Path) -> None:
    with pytest.raises(ConfigError, match=r"--set seed\.more: seed is a value, not a section"):
        load_config(recipe, ["seed.more=1"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sed=3", r"mine\.toml: unknown key sed; did you mean seed\?"),
        ("thread=3", r"unknown key thread; did you mean threads\?"),
        ("data.pth=x", r"unknown key data\.pth; did you mean path\?"),
        ("data.max_size=3", r"unknown key data\.max_size; did you mean max_side\?"),
        ("data.zzz=3", r"unknown key data\.zzz; known: "),
        ("linaer.rounds=3", r"unknown section \[linaer\] for the objective linear; did you mean linear\?"),
        ("sections.linear.rounds=3", "sections"),
    ],
)
def test_an_unknown_key_or_section_comes_with_the_nearest(recipe: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        load_config(recipe, [override])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile_sise": 3}, r"\[linear\]: unknown key tile_sise; did you mean tile_size\?"),
        ({"metric": {"flor": 3}}, r"\[linear\]: unknown key metric\.flor; did you mean floor\?"),
        ({"metric": {"knid": "latents"}}, r"unknown key metric\.knid; did you mean kind\?"),
        ({"stages": [{"tokens": 3, "rat": 1}]}, r"unknown key stages\.0\.rat; did you mean rate\?"),
        ({"metric": {"kind": "pixels"}}, r"\[linear\]: metric\.kind: Input should be 'decoder' or 'latents'"),
        ({"metric": {"floor": 0}}, r"metric\.floor: Input should be greater than 0"),
        ({"codebook_size": 1}, "codebook_size: Input should be greater than or equal to 2"),
        ({"tile_size": "wide"}, "tile_size: Input should be a valid integer"),
        ({"stages": []}, "stages: .* at least 1"),
        ({"stages": [{}]}, r"stages\.0\.tokens: Field required"),
        ({"metric": 3}, "metric: Input should be"),
    ],
)
def test_a_wrong_setting_of_the_objective_is_named_with_its_section(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        check(LinearObjectiveConfig, settings, "[linear]")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=five", r"mine\.toml: seed: Input should be a valid integer"),
        ("seed=-1", "seed: Input should be greater than or equal to 0"),
        ("seed=2147483648", "seed: Input should be less than 2147483648"),
        ("seed=1.5", "seed: Input should be a valid integer"),
        ("threads=-1", "threads"),
        ("data.max_side=-1", r"data\.max_side: "),
        ("data.kind=zip", r"data\.kind: Input should be 'auto'"),
        ("data.split=test", r"data\.split: Input should be"),
        ("data.num_synthetic=0", r"data\.num_synthetic: "),
        ("data=3", "data: Input should be"),
        ("objective=3", "objective: Input should be a valid string"),
        ("data.path=[1]", r"data\.path: Input should be a valid string"),
    ],
)
def test_a_value_of_a_wrong_type_or_out_of_range_is_named(recipe: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        load_config(recipe, [override])
    assert "\n" not in str(error.value)


def test_all_that_is_wrong_is_named_at_once(recipe: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key data\.pth.*; seed: |seed: .*; unknown key data\.pth"):
        load_config(recipe, ["seed=-1", "data.pth=x"])


def test_a_recipe_without_an_objective_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    path.write_text("seed = 1")
    with pytest.raises(ConfigError, match=r"none\.toml: objective: Field required"):
        load_config(path)


@pytest.mark.parametrize("text", [b"objective = ", b"objective : linear", b"\xff\xfe", b'a = 1\na = 2\nobjective = "linear"'])
def test_a_file_that_is_no_toml_is_one_line(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=r"bad\.toml: cannot read the recipe: ") as error:
        load_config(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: no such recipe file"):
        load_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("name", "message"), [("smoke-liner", "did you mean smoke-linear"), ("zzz", "see `vtok recipes`"), ("", "no recipe named ''")]
)
def test_an_unknown_recipe_comes_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(name)


def test_a_resolved_configuration_is_read_again(recipe: Path) -> None:
    config = load_config(recipe, ["linear.rounds=2"])
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_a_configuration_cannot_be_changed(recipe: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config(recipe).seed = 4  # type: ignore[misc]


def test_configurations_need_no_torch() -> None:
    code = "import sys, vtok.train.config, vtok.train, vtok.recipes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
