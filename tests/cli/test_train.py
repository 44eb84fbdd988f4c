"""`vtok train`: a recipe file to a model folder that encodes."""

import pytest

from tests.cli.samples import files_under
from vtok.codec.container import read

RECIPE = """
objective = "linear"
[data]
kind = "synthetic"
num_synthetic = 8
[linear]
autoencoder = "pixels"
tile_size = 16
codebook_size = 16
stages = [{tokens = 4}]
num_tiles = 400
rounds = 1
[linear.metric]
kind = "latents"
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


def test_a_recipe_file_gives_a_model_that_encodes(vtok, recipe, photo, tmp_path):
    result = vtok("train", recipe, "-o", tmp_path / "fitted")
    assert result.code == 0
    assert result.out.decode() == f"{tmp_path / 'fitted'}\n"
    assert "pictures" in result.err
    assert vtok("encode", photo, "-o", tmp_path / "p.vtok", "--model", tmp_path / "fitted").code == 0
    assert read(tmp_path / "p.vtok").spec.max_tokens == 4


def test_quiet_says_only_where_the_model_is(vtok, recipe, tmp_path):
    result = vtok("train", recipe, "-o", tmp_path / "fitted", "--quiet", "--set", "linear.num_tiles=200")
    assert (result.code, result.err) == (0, "")


def test_without_an_output_the_folder_is_called_a_run_of_the_recipe(vtok, recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert vtok("train", recipe, "--set", "linear.num_tiles=200").out == b"small-run\n"
    assert "config.json" in files_under(tmp_path / "small-run")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.pth=x", "did you mean path?"),
        ("linear.tile_sise=8", "did you mean tile_size?"),
        ("linear.codebook_size=1", "codebook_size"),
        ("objective=quadratic", "quadratic"),
        ("seed", "--set takes a.b=VALUE"),
    ],
)
def test_a_wrong_key_or_value_is_one_line(vtok, recipe, tmp_path, override, words):
    result = vtok("train", recipe, "-o", tmp_path / "fitted", "--set", override)
    assert result.code == 2
    assert words in result.line
    assert not (tmp_path / "fitted").exists()


def test_a_missing_recipe_is_one_line(vtok, tmp_path):
    for name in ("linear46", str(tmp_path / "none.toml")):
        result = vtok("train", name, "-o", tmp_path / "fitted")
        assert result.code == 2
        assert name in result.line


def test_a_folder_without_pictures_is_one_line(vtok, recipe, tmp_path):
    (tmp_path / "empty").mkdir()
    result = vtok("train", recipe, "-o", tmp_path / "fitted", "--set", "data.kind=folder", "--set", f"data.path={tmp_path / 'empty'}")
    assert result.code == 2
    assert str(tmp_path / "empty") in result.line
