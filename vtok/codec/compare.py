"""A picture beside its own prefixes, with what each costs and how near it comes; as figures and as one sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vtok.codec.compress import encode_pictures
from vtok.codec.continuous import decode_latents, encode_latents
from vtok.codec.decompress import Pixels, decode_file
from vtok.codec.request import Rate
from vtok.codec.truncate import truncate
from vtok.data.eight_bit import from_eight_bit
from vtok.eval.pairs.psnr import psnr
from vtok.tokenizers.spec import LatentSpec, TokenSpec

if TYPE_CHECKING:
    from vtok.eval.pairs.lpips import Lpips
    from vtok.tokenizers.base import DecodeOptions, Tokenizer
    from vtok.tokenizers.latents import LatentTokenizer

SHOWN_SIDE = 768  # longer side in pixels of what a comparison keeps to be shown


@dataclass(frozen=True, eq=False)
class Row:
    """One prefix of a picture.

    Args:
        tokens: of each tile.
        num_bytes: of the whole `.vtok` file; None for a continuous tokenizer's latents, which have none.
        bpp: bits of the file per pixel of the picture; None likewise.
        psnr: dB, inf for equal pictures; of the whole picture, as lpips is.
        lpips: None when it was not asked for, or the picture is too small for it.
        shown: (h, w, 3) uint8, the decoded picture at the size in which it is shown.
    """

    tokens: int
    num_bytes: int | None
    bpp: float | None
    psnr: float
    lpips: float | None
    shown: Pixels


@dataclass(frozen=True, eq=False)
class Comparison:
    """A picture of `size` (height, width) in `tiles` tiles: the original as it is shown, (h, w, 3) uint8, and its prefixes by length."""

    size: tuple[int, int]
    tiles: int
    original: Pixels
    rows: tuple[Row, ...]


def compare(
    picture: Pixels,
    tokenizer: Tokenizer | LatentTokenizer,
    *,
    lengths: Sequence[int] | None = None,
    whole: bool = False,
    overlap: int | None = None,
    options: DecodeOptions | None = None,
    lpips: Lpips | None = None,
) -> Comparison:
    """Encode a picture once and decode its prefixes.

    Args:
        picture: (H, W, 3) uint8.
        lengths: tokens of each tile; 1, 2, 4, ... and all when None, each rounded down to one that decodes.
        whole: one string for the whole picture, resized, in place of tiles.
        overlap: of neighbouring tiles in pixels; None for the tokenizer's own.
        options: of the decoder, for each prefix; progress is told the share of all prefixes.
        lpips: measures that too; its network decides where.

    Raises:
        LengthError: a length that does not decode.
        UnsupportedError: an overlap that the tokenizer does not take, or an option that it does not have.
    """
    from vtok.tokenizers.base import DecodeOptions
    from vtok.tokenizers.checks import check_options
    from vtok.tokenizers.latents import LatentTokenizer

    options = options or DecodeOptions()
    check_options(options, tokenizer.decode_options, tokenizer.family)
    wanted = doubling(tokenizer.spec) if lengths is None else sorted({tokenizer.spec.check_length(n) for n in lengths})
    parts = [(n, options.of_part(i, i + 1, len(wanted))) for i, n in enumerate(wanted)]
    decoded: Iterator[tuple[int, int | None, Pixels]]
    if isinstance(tokenizer, LatentTokenizer):
        strings = encode_latents(picture, tokenizer, whole=whole, overlap=overlap)
        tiles = len(strings.latents)
        decoded = ((n, None, decode_latents(strings, tokenizer, num_latents=n, options=part)) for n, part in parts)
    else:
        file = encode_pictures([picture], tokenizer, Rate(tokens=wanted[-1]), whole=whole, overlap=overlap)[0]
        tiles = len(file.lengths)
        decoded = ((n, truncate(file, tokens=n).num_bytes, decode_file(file, tokenizer, tokens=n, options=part)) for n, part in parts)
    pixels = picture.shape[0] * picture.shape[1]
    rows = []
    for tokens, num_bytes, own in decoded:
        bpp = None if num_bytes is None else 8 * num_bytes / pixels
        rows.append(Row(tokens, num_bytes, bpp, psnr(picture, own), _distance(picture, own, lpips), _shown(own)))
    return Comparison(picture.shape[:2], tiles, _shown(picture), tuple(rows))


def doubling(spec: TokenSpec | LatentSpec) -> list[int]:
    """The lengths 1, 2, 4, ... and all, each rounded down to one that decodes."""
    powers = (2**i for i in range(spec.max_tokens.bit_length()))
    return sorted({spec.round_down(n) for n in (*powers, spec.max_tokens)} - {0})


def _distance(picture: Pixels, decoded: Pixels, lpips: Lpips | None) -> float | None:
    if lpips is None:
        return None
    import torch

    from vtok.eval.pairs.lpips import MIN_SIDE

    if min(picture.shape[:2]) < MIN_SIDE:
        return None
    with torch.no_grad():
        return float(lpips(from_eight_bit(picture), from_eight_bit(decoded)))


def _shown(picture: Pixels) -> Pixels:
    from PIL import Image

    height, width = picture.shape[:2]
    scale = SHOWN_SIDE / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
