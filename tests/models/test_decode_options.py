"""Options of decoders: their ranges, and what tiles and parts get of those of their pictures."""

import math
from typing import Any

import pytest
import torch

from vtok.models.decoders import DecodeOptions


def test_a_tile_has_the_text_and_the_seed_of_its_picture() -> None:
    options = DecodeOptions(seed=[7, 8, 9], text=["a", "b", "c"])
    part = options.of_tiles(4, 13, 6)
    assert part.text == ["a", "a", "b", "b", "b", "b", "b", "b", "c"]
    assert part.seed == [7, 7, 8, 8, 8, 8, 8, 8, 9]


def test_embeddings_are_handed_on_as_captions_are() -> None:
    embeddings = torch.arange(2 * 3 * 4).view(2, 3, 4)
    part = DecodeOptions(text=embeddings).of_tiles(1, 4, 2)
    assert isinstance(part.text, torch.Tensor)
    assert torch.equal(part.text, embeddings[[0, 1, 1]])


def test_what_is_the_same_for_all_pictures_stays() -> None:
    part = DecodeOptions(steps=4, solver="euler", guidance=2.0, guidance_rule="apg", seed=3).of_tiles(5, 8, 6)
    assert (part.steps, part.solver, part.guidance, part.guidance_rule, part.seed, part.text) == (4, "euler", 2.0, "apg", 3, None)


@pytest.mark.parametrize("options", [DecodeOptions(), DecodeOptions(seed=5), DecodeOptions(text=["a", "b"], seed=(1, 2))])
def test_options_of_as_many_pictures_are_good(options: DecodeOptions) -> None:
    options.check_pictures(2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (DecodeOptions(text=["a"]), "text of 1 pictures given, 2 are decoded"),
        (DecodeOptions(text=torch.zeros(3, 4, 5)), "text of 3 pictures given, 2 are decoded"),
        (DecodeOptions(seed=[1, 2, 3]), "seed of 3 pictures given, 2 are decoded"),
    ],
)
def test_options_of_another_number_of_pictures_are_refused(options: DecodeOptions, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        options.check_pictures(2)


@pytest.mark.parametrize(
    "given",
    [
        {"steps": 1},
        {"steps": 10_000},
        {"guidance": 0},
        {"guidance": 7.5},
        {"guidance_rule": "cfg"},
        {"guidance_rule": "apg"},
        {"seed": 0},
        {"seed": 2**63 - 1},
        {"seed": (3, 2**63 - 1)},
    ],
)
def test_the_ends_of_a_range_belong_to_it(given: dict[str, Any]) -> None:
    assert DecodeOptions(**given).given() == set(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "steps must be a whole number from 1 to 10000, got 0"),
        ({"steps": 10_001}, "steps must be a whole number from 1 to 10000, got 10001"),
        ({"steps": 2.5}, "steps must be a whole number from 1 to 10000, got 2.5"),
        ({"steps": True}, "steps must be a whole number from 1 to 10000, got True"),
        ({"guidance": -0.5}, "guidance must be a finite number of at least 0, got -0.5"),
        ({"guidance": math.inf}, "guidance must be a finite number of at least 0, got inf"),
        ({"guidance": math.nan}, "guidance must be a finite number of at least 0, got nan"),
        ({"guidance_rule": "none"}, "guidance_rule must be cfg or apg, got 'none'"),
        ({"seed": -1}, "seed must be a whole number from 0 to below 2**63, got -1"),
        ({"seed": 2**63}, f"seed must be a whole number from 0 to below 2**63, got {2**63}"),
        ({"seed": True}, "seed must be a whole number from 0 to below 2**63, got True"),
        ({"seed": [1, False]}, "seed must be a whole number from 0 to below 2**63, got False"),
        ({"seed": [1, None]}, "seed must be a whole number from 0 to below 2**63, got None"),
        ({"seed": 1.0}, "seed must be a whole number from 0 to below 2**63, got 1.0"),
    ],
)
def test_a_value_out_of_its_range_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="must be") as refused:
        DecodeOptions(**given)
    assert str(refused.value) == message


def test_progress_is_no_option_of_a_family() -> None:
    assert DecodeOptions(progress=print).given() == set()


def test_tiles_tell_their_progress_where_their_picture_does() -> None:
    assert DecodeOptions(progress=print).of_tiles(0, 2, 4).progress is print


def test_parts_tell_the_share_of_the_whole() -> None:
    told: list[float] = []
    whole = DecodeOptions(steps=3, progress=told.append)
    for part in (whole.of_part(0, 3, 4), whole.of_part(3, 4, 4)):
        assert part.steps == 3
        assert part.progress is not None
        for share in (0, 0.5, 1):
            part.progress(share)
    assert told == [0, 0.375, 0.75, 0.75, 0.875, 1]


def test_a_part_without_progress_has_none() -> None:
    assert DecodeOptions().of_part(0, 1, 2).progress is None
