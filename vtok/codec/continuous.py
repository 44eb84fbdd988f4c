"""Pictures through a continuous tokenizer, which has nothing to store: to look at, and to compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtok.codec.compress import cover
from vtok.codec.decompress import Pixels, device_of, uncover
from vtok.codec.header import check_picture, covered_size, grid_of

if TYPE_CHECKING:
    from vtok.tokenizers.base import DecodeOptions
    from vtok.tokenizers.latents import Latents, LatentTokenizer


@dataclass(frozen=True, eq=False)
class LatentPicture:
    """A picture as strings of latents.

    Args:
        latents: a string of each tile, row by row.
        size: height, width in pixels.
        grid: rows, columns of tiles.
        whole: it was resized to one tile.
        overlap: of neighbouring tiles in pixels.
    """

    latents: Latents
    size: tuple[int, int]
    grid: tuple[int, int]
    whole: bool
    overlap: int


def encode_latents(pixels: Pixels, tokenizer: LatentTokenizer, *, whole: bool = False, overlap: int | None = None) -> LatentPicture:
    """Code a picture, (H, W, 3) uint8, tiled as `compress` does it.

    Raises:
        PictureError: the picture is too large.
        UnsupportedError: an overlap that the tokenizer does not take.
    """
    from vtok.data.eight_bit import check_pixels, from_eight_bit

    check_pixels(pixels)
    size, spec = pixels.shape[:2], tokenizer.spec
    asked = tokenizer.default_overlap if overlap is None else overlap
    tokenizer.decoded_overlap(asked)
    check_picture(spec, size, whole=whole, overlap=asked)
    grid = grid_of(spec, size, whole=whole, overlap=asked)
    own = 0 if grid == (1, 1) else asked
    images = from_eight_bit(cover(pixels, covered_size(spec, grid, own), whole=whole)).to(device_of(tokenizer))
    return LatentPicture(tokenizer.encode_grid(images, overlap=own), size, grid, whole, own)


def decode_latents(picture: LatentPicture, tokenizer: LatentTokenizer, *, num_latents: int, options: DecodeOptions | None = None) -> Pixels:
    """Decode the most probable latents to pixels (H, W, 3) uint8 of the source's size, so many of each tile.

    Raises:
        LengthError: a number of latents that does not decode.
        UnsupportedError: an option that the model does not have.
    """
    from vtok.tokenizers.base import DecodeOptions

    prefix = picture.latents.prefix(num_latents)
    images = tokenizer.decode_grid(prefix, *picture.grid, options or DecodeOptions(), overlap=picture.overlap)
    covered = None if picture.whole else covered_size(tokenizer.spec, picture.grid, picture.overlap)
    return uncover(images, picture.size, covered)
