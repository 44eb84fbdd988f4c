"""Pictures through a continuous tokenizer: tiled as stored ones are, with nothing stored."""

import numpy as np
import pytest
import torch

from tests.cli.samples import pixels
from vtok.codec.compare import compare
from vtok.codec.compress import compress
from vtok.codec.continuous import decode_latents, encode_latents
from vtok.codec.decompress import decompress
from vtok.codec.sheet import draw
from vtok.data.eight_bit import from_eight_bit, to_eight_bit
from vtok.errors import LengthError, PictureError, UnsupportedError
from vtok.eval.pairs.psnr import psnr
from vtok.models.decoders import DecodeOptions
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.titok_vae import TitokVae


@pytest.fixture(scope="module")
def tokenizer() -> TitokVae:
    return TitokVae.tiny()


def shown(tokenizer: TitokVae, picture: np.ndarray) -> np.ndarray:
    return np.asarray(to_eight_bit(tokenizer.decode(tokenizer.encode(from_eight_bit(picture)))[0]).permute(1, 2, 0))


def test_a_picture_of_one_tile_is_the_tokenizers(tokenizer: TitokVae) -> None:
    picture = pixels(32, 32)
    encoded = encode_latents(picture, tokenizer)
    assert (encoded.grid, encoded.overlap) == ((1, 1), 0)
    assert np.array_equal(decode_latents(encoded, tokenizer, num_latents=6), shown(tokenizer, picture))


def test_a_large_picture_is_tiled_and_keeps_its_size(tokenizer: TitokVae) -> None:
    encoded = encode_latents(pixels(50, 90), tokenizer, overlap=4)
    assert encoded.grid == (2, 4)
    assert len(encoded.latents) == 8
    assert decode_latents(encoded, tokenizer, num_latents=6).shape == (50, 90, 3)


def test_tiles_side_by_side_are_those_of_the_picture(tokenizer: TitokVae) -> None:
    picture = pixels(32, 64)
    decoded = decode_latents(encode_latents(picture, tokenizer, overlap=0), tokenizer, num_latents=6)
    for left in (0, 32):
        difference = decoded[:, left : left + 32].astype(int) - shown(tokenizer, np.ascontiguousarray(picture[:, left : left + 32]))
        assert abs(difference).max() <= 1  # another batch may differ in the last bit of a sum


def test_whole_is_one_string(tokenizer: TitokVae) -> None:
    encoded = encode_latents(pixels(50, 90), tokenizer, whole=True)
    assert len(encoded.latents) == 1
    assert decode_latents(encoded, tokenizer, num_latents=6).shape == (50, 90, 3)


def test_an_overlap_of_more_than_half_a_tile_is_refused(tokenizer: TitokVae) -> None:
    with pytest.raises(UnsupportedError, match="half a tile"):
        encode_latents(pixels(50, 90), tokenizer, overlap=17)


def test_a_length_that_does_not_decode_is_refused(tokenizer: TitokVae) -> None:
    with pytest.raises(LengthError, match="3 tokens do not decode"):
        decode_latents(encode_latents(pixels(32, 32), tokenizer), tokenizer, num_latents=3)


def test_options_reach_the_decoder(tokenizer: TitokVae) -> None:
    with pytest.raises(UnsupportedError, match="has no option steps"):
        decode_latents(encode_latents(pixels(32, 32), tokenizer), tokenizer, num_latents=6, options=DecodeOptions(steps=2))


def test_a_picture_beyond_the_limits_is_refused(tokenizer: TitokVae) -> None:
    with pytest.raises(PictureError, match="20000 x 20000 pixels"):
        encode_latents(np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)), tokenizer)


def test_a_comparison_has_no_bytes(tokenizer: TitokVae) -> None:
    picture = pixels(50, 90)
    comparison = compare(picture, tokenizer)
    (row,) = comparison.rows
    assert (row.tokens, row.num_bytes, row.bpp, comparison.tiles) == (6, None, None, len(encode_latents(picture, tokenizer).latents))
    assert row.psnr == psnr(picture, decode_latents(encode_latents(picture, tokenizer), tokenizer, num_latents=6))
    assert draw(comparison).ndim == 3


def test_there_is_nothing_to_store(tokenizer: TitokVae) -> None:
    with pytest.raises(UnsupportedError, match="is continuous"):
        compress(pixels(32, 32), model=tokenizer)  # type: ignore[arg-type]
    data = compress(pixels(16, 16), model=LinearTokenizer.tiny())
    with pytest.raises(UnsupportedError, match="is continuous"):
        decompress(data, model=tokenizer)  # type: ignore[arg-type]


def test_latents_are_those_of_the_means(tokenizer: TitokVae) -> None:
    encoded = encode_latents(pixels(32, 32), tokenizer)
    torch.manual_seed(1)
    assert torch.equal(encoded.latents.mode(), encode_latents(pixels(32, 32), tokenizer).latents.mode())
