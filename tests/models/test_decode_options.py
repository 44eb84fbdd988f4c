"""Options of pictures handed on to their tiles."""

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
