"""The recipes that are shipped."""

from importlib import import_module

import pytest
from pydantic import BaseModel

from vtok.recipes import head_comment, names, recipe_file
from vtok.train import TABLE, load_config
from vtok.train.config import RunConfig, check
from vtok.train.objectives.linear import LinearObjectiveConfig
from vtok.train.objectives.nested import NestedObjectiveConfig

every_recipe = pytest.mark.parametrize("name", names())
every_nested_recipe = pytest.mark.parametrize("name", [name for name in names() if load_config(name).objective == "nested"])
every_smoke_recipe = pytest.mark.parametrize("name", [name for name in names() if name.startswith("smoke")])


def section(config: RunConfig) -> BaseModel:
    """The objective's own settings, checked as when the run starts."""
    module, _, class_name = TABLE[config.objective].partition(":")
    settings: BaseModel = check(getattr(import_module(module), class_name).Config, config.settings(), f"[{config.objective}]")
    return settings


@every_recipe
def test_a_recipe_is_read_and_checked_by_its_name(name: str) -> None:
    config = load_config(name)
    assert isinstance(section(config), LinearObjectiveConfig | NestedObjectiveConfig)
    assert (config.train.steps > 0) == (config.objective != "linear")


@every_nested_recipe
def test_a_recipe_trains_on_whole_tiles_and_measures_lengths_that_there_are(name: str) -> None:
    config = load_config(name)
    settings = section(config)
    assert isinstance(settings, NestedObjectiveConfig)
    assert config.data.crop_size % settings.linear.tile_size == 0
    num_tokens = sum(stage.tokens for stage in settings.linear.stages) if settings.quantizer is None else settings.quantizer.num_tokens
    assert max(config.train.validation.lengths) <= num_tokens
    assert config.train.validation.select == "psnr" or config.data.crop_size >= 31


@every_recipe
def test_the_head_of_a_recipe_says_what_it_costs_and_how_it_is_run(name: str) -> None:
    lines = head_comment(recipe_file(name))
    assert [line.split(":")[0] for line in lines if line.split(":")[0] in ("Data", "Cost", "Expect")] == ["Data", "Cost", "Expect"]
    assert any(line.startswith(f"vtok train {name} ") for line in lines)


@every_smoke_recipe
def test_a_smoke_recipe_needs_neither_data_nor_weights(name: str) -> None:
    config = load_config(name)
    settings = section(config)
    assert config.data.kind == "synthetic"
    linear = settings.linear if isinstance(settings, NestedObjectiveConfig) else settings
    assert isinstance(linear, LinearObjectiveConfig)
    assert (linear.autoencoder, linear.metric.lpips) == ("pixels", 0)
    if isinstance(settings, NestedObjectiveConfig):
        assert (settings.pictures.lpips, settings.pictures.features, settings.start) == (0, (), "linear")
