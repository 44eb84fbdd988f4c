"""`vtok models`, `vtok recipes`, `vtok --version`, `vtok --help`."""

import tomllib

import pytest

import vtok as package
from tests.conftest import CHECKOUT
from vtok import recipes
from vtok.weights.table import DEFAULT, TABLE


def test_models_lists_the_table(vtok):
    text = vtok("models").out.decode()
    assert all(name in text for name in TABLE)
    assert f"{DEFAULT} (default)" in text


def test_models_of_others_come_with_figure_place_and_licence(vtok):
    lines = vtok("models").out.decode().splitlines()
    about, place = lines[lines.index("titok_l32.imagenet") + 1 :][:2]
    assert about == "  TiTok-L-32; family titok, published rFID 2.21"
    assert place.startswith("  yucornetto/tokenizer_titok_l32_imagenet on the hub; licence of the weights: Apache-2.0; ")


def test_the_page_of_models_is_the_one_in_the_docs(vtok):
    assert vtok("models", "--markdown").out.decode() == (CHECKOUT / "docs" / "models.md").read_text(encoding="utf-8")


def test_models_as_json_has_one_object_a_row(vtok):
    records = vtok("models", "--json").records
    assert [record["name"] for record in records] == list(TABLE)
    assert [record["name"] for record in records if record["default"]] == [DEFAULT]


@pytest.fixture
def two_recipes(monkeypatch, tmp_path):
    (tmp_path / "fast.toml").write_text("# Trains fast.\n# Cost: 3 minutes on 2 cores\n# Expect: 25 dB\n\nobjective = 'x'\n")
    (tmp_path / "slow.toml").write_text("objective = 'y'\n")
    monkeypatch.setattr(recipes, "FOLDER", tmp_path)


@pytest.mark.usefixtures("two_recipes")
def test_recipes_are_listed_with_their_first_line_cost_and_score(vtok):
    fast = ["fast", "  Trains fast.", "  cost: 3 minutes on 2 cores", "  expect: 25 dB"]
    assert vtok("recipes").out.decode().splitlines() == [*fast, "slow", "  "]
    about = {"name": "fast", "about": "Trains fast.", "cost": "3 minutes on 2 cores", "expect": "25 dB"}
    assert vtok("recipes", "--json").records[0] == about


@pytest.mark.usefixtures("two_recipes")
def test_a_recipe_by_name_is_printed(vtok):
    assert vtok("recipes", "slow").out == b"objective = 'y'\n"
    assert "Cost" in vtok("recipes", "fast", "--json").records[0]["text"]


@pytest.mark.usefixtures("two_recipes")
def test_a_misspelt_recipe_is_answered_with_the_nearest(vtok):
    result = vtok("recipes", "fats")
    assert result.code == 2
    assert "did you mean fast?" in result.line


def test_every_shipped_recipe_says_what_it_trains_what_it_costs_and_what_to_expect(vtok):
    for record in vtok("recipes", "--json").records:
        assert record["about"]
        assert record["cost"], record["name"]
        assert record["expect"], record["name"]
        tomllib.loads(vtok("recipes", record["name"]).out.decode())


def test_the_version_is_that_of_the_package(vtok):
    assert vtok("--version").out.decode() == f"vtok {package.__version__}\n"


@pytest.mark.parametrize("command", ["encode", "decode", "info", "truncate", "compare", "models", "convert", "recipes", "train"])
def test_every_command_has_help_with_an_example(vtok, command):
    result = vtok(command, "--help")
    assert result.code == 0
    assert f"Example: vtok {command}" in result.out.decode()


def test_an_unknown_option_is_a_users_error(vtok):
    result = vtok("models", "--jsonn")
    assert result.code == 2
    assert "--jsonn" in result.err
