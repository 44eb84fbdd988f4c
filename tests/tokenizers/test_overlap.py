"""Grids of overlapping tiles in the base class, with a tokenizer that sees each tile alone."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.codec.toy import SIDE, ToyTokenizer
from vtok.errors import UnsupportedError
from vtok.models.decoders import Decoded, DecodeOptions
from vtok.tokenizers import tiles
from vtok.tokenizers.tiles import cut_tiles, stitch_tiles

ROWS, COLS, OVERLAP = 2, 3, 3
TOY = ToyTokenizer()


def pictures(count: int = 2) -> Tensor:
    """Random pictures of 2 x 3 tiles that overlap by 3 pixels."""
    sides = (grid * (SIDE - OVERLAP) + OVERLAP for grid in (ROWS, COLS))
    return torch.rand(count, 3, *sides, generator=torch.Generator().manual_seed(0))


class Labelled(ToyTokenizer):
    """Decodes each tile to the number that is its text, and keeps what it was given."""

    decode_options = frozenset({"text", "seed"})

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[DecodeOptions] = []

    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:  # noqa: ARG002 - the text is all it shows
        self.parts.append(options)
        assert options.text is not None
        values = torch.tensor([float(text) for text in options.text])
        assert len(values) == len(vectors)
        return Decoded(values[:, None, None, None].expand(-1, 3, SIDE, SIDE))


def test_a_grid_is_its_tiles_one_by_one() -> None:
    tiles = cut_tiles(pictures(), (SIDE, SIDE), OVERLAP)
    alone, errors_alone = TOY.encode_grid_with_errors(tiles)
    tokens, errors = TOY.encode_grid_with_errors(pictures(), overlap=OVERLAP)
    assert len(tokens) == 2 * ROWS * COLS
    assert torch.equal(tokens.ids, alone.ids)
    assert torch.equal(errors, errors_alone)
    assert torch.equal(TOY.encode_grid(pictures(), 5, overlap=OVERLAP).ids, TOY.encode(tiles, 5).ids)


@pytest.mark.parametrize("zoom", [1, 3])
def test_decoded_tiles_are_blended_at_their_own_size(zoom: int) -> None:
    tok = ToyTokenizer(zoom=zoom)
    tokens = tok.encode_grid(pictures(), overlap=OVERLAP)
    decoded = tok.decode_grid(tokens, ROWS, COLS, overlap=OVERLAP)
    assert decoded.shape[2:] == tuple(zoom * side for side in pictures().shape[2:])
    assert torch.equal(decoded, stitch_tiles(tok.decode(tokens), ROWS, COLS, zoom * OVERLAP))


@pytest.mark.parametrize("at_once", [1, 4, 5, 64])
def test_the_size_of_the_parts_changes_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = TOY.encode_grid(pictures(), overlap=OVERLAP)
    decoded = TOY.decode_grid(tokens, ROWS, COLS, overlap=OVERLAP)
    monkeypatch.setattr(tiles, "PIXELS_AT_ONCE", at_once * math.prod(TOY.spec.input_size))
    assert torch.equal(TOY.encode_grid(pictures(), overlap=OVERLAP).ids, tokens.ids)
    torch.testing.assert_close(TOY.decode_grid(tokens, ROWS, COLS, overlap=OVERLAP), decoded, rtol=0, atol=1e-6)


@pytest.mark.parametrize("at_once", [4, 64])
def test_each_tile_gets_the_text_of_its_picture(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "PIXELS_AT_ONCE", at_once * math.prod(TOY.spec.input_size))
    tok = Labelled()
    decoded = tok.decode_grid(
        TOY.encode_grid(pictures(), overlap=OVERLAP), ROWS, COLS, DecodeOptions(text=["0.25", "0.5"]), overlap=OVERLAP
    )
    assert torch.equal(decoded, torch.tensor([0.25, 0.5])[:, None, None, None].expand_as(decoded))


def test_each_tile_gets_the_seed_of_its_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "PIXELS_AT_ONCE", 5 * math.prod(TOY.spec.input_size))
    tok = Labelled()
    tok.decode_grid(TOY.encode_grid(pictures(), overlap=OVERLAP), ROWS, COLS, DecodeOptions(text=["0", "1"], seed=[7, 8]), overlap=OVERLAP)
    assert [part.seed for part in tok.parts] == [[7] * 5, [7] + [8] * 4, [8] * 2]


def test_texts_of_another_number_of_pictures_are_refused() -> None:
    tokens = TOY.encode_grid(pictures(), overlap=OVERLAP)
    with pytest.raises(ValueError, match="text of 12 pictures given, 2 are decoded"):
        TOY.decode_grid(tokens, ROWS, COLS, DecodeOptions(text=["a"] * 12), overlap=OVERLAP)


def test_strings_that_fill_no_grid_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = TOY.encode_grid(pictures(), overlap=OVERLAP)
    monkeypatch.setattr(ToyTokenizer, "decode", None)
    with pytest.raises(ValueError, match="12 tiles do not fill grids of 5 x 1"):
        TOY.decode_grid(tokens, 5, 1)


def test_a_picture_that_the_tiles_do_not_fill_is_refused() -> None:
    for encode in (TOY.encode_grid, TOY.encode_grid_with_errors):
        with pytest.raises(ValueError, match="13 x 17 is not a whole number of 8 x 8 tiles that overlap by 3"):
            encode(pictures()[..., :-1], overlap=OVERLAP)


def test_half_a_tile_is_the_most() -> None:
    assert TOY.decoded_overlap(4) == 4
    with pytest.raises(UnsupportedError, match="an overlap of 5 pixels is more than half a tile; toy takes 0 to 4"):
        TOY.decoded_overlap(5)
    with pytest.raises(ValueError, match="overlap must be at least 0, got -1"):
        TOY.decoded_overlap(-1)


@pytest.mark.parametrize(("output", "overlap", "expected"), [((12, 12), 2, 3), ((4, 4), 2, 1), ((16, 16), 3, 6), ((12, 16), 0, 0)])
def test_the_overlap_is_scaled_with_the_tile(output: tuple[int, int], overlap: int, expected: int) -> None:
    tok = ToyTokenizer()
    tok.spec = replace(tok.spec, output_size=output)
    assert tok.decoded_overlap(overlap) == expected


@pytest.mark.parametrize(("output", "overlap"), [((12, 12), 3), ((4, 4), 1), ((8, 16), 2)])
def test_an_overlap_that_does_not_come_out_whole_is_refused(output: tuple[int, int], overlap: int) -> None:
    tok = ToyTokenizer()
    tok.spec = replace(tok.spec, output_size=output)
    with pytest.raises(
        UnsupportedError, match=f"an overlap of {overlap} pixels is no whole number of decoded ones.* 8 x 8 pixels that decode"
    ):
        tok.decoded_overlap(overlap)


def test_no_overlap_is_what_a_family_has_unless_it_says_otherwise() -> None:
    assert TOY.default_overlap == 0
