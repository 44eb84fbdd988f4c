"""The published evaluations by name."""

import json
from dataclasses import FrozenInstanceError

import pytest

from vtok.errors import ConfigError
from vtok.eval.backbones.inception_backbone import INPUT_RULES
from vtok.eval.protocol.crops import CROPS
from vtok.eval.protocol.presets import TABLE, Preset, preset
from vtok.eval.protocol.rounding import ROUNDINGS

every_preset = pytest.mark.parametrize("one", TABLE.values(), ids=list(TABLE))


@every_preset
def test_all_rules_that_it_names_exist(one: Preset) -> None:
    assert one.crop in CROPS
    assert one.rounding in ROUNDINGS
    assert one.inception_resize in INPUT_RULES
    assert one.kid in ("torch-fidelity", "clean-fid")
    assert one.manifold in ("torch-fidelity", "adm", "prdc")


@every_preset
def test_the_inception_score_has_its_rule(one: Preset) -> None:
    rule = {key.removeprefix("score_"): value for key, value in one.to_json().items() if key.startswith("score_")}
    assert one.score_rule.to_json() == rule


@every_preset
def test_it_says_where_it_was_read_and_can_be_stored(one: Preset) -> None:
    assert one.note
    assert one.source
    assert json.loads(json.dumps(one.to_json())) == one.to_json()


def test_names_are_those_of_the_presets() -> None:
    assert all(name == one.name for name, one in TABLE.items())
    assert next(iter(TABLE)) == "vtok"
    assert preset("adm") is TABLE["adm"]


def test_no_two_have_the_same_rules_but_those_that_share_an_evaluator() -> None:
    rules: dict[str, list[str]] = {}
    for name, one in TABLE.items():
        facts = {key: value for key, value in one.to_json().items() if key not in ("name", "note", "source")}
        rules.setdefault(json.dumps(facts), []).append(name)
    shared = [names for names in rules.values() if len(names) > 1]
    assert shared == [["vtok", "torch-fidelity"], ["adm", "llamagen"], ["titok", "one-d-piece"]]


def test_a_preset_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        TABLE["vtok"].crop = "adm"  # type: ignore[misc]


@pytest.mark.parametrize(("name", "nearest"), [("Titok", "titok"), ("pytorchfid", "pytorch-fid"), ("magvit2", "open-magvit2")])
def test_a_name_that_is_none_has_its_nearest_named(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=rf"no preset '{name}'; did you mean {nearest}\? \(known: vtok, adm, "):
        preset(name)
