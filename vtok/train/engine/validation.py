"""Measuring a tokenizer on fixed pictures at some lengths."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from vtok.data.eight_bit import to_eight_bit
from vtok.errors import ConfigError, LengthError, MissingExtraError, WeightsError
from vtok.eval.codes.codebook import CodebookStatistics, CodebookUse
from vtok.eval.pairs.lpips import MIN_SIDE, Lpips
from vtok.eval.pairs.psnr import psnr
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.latents import AnyTokenizer, Latents
from vtok.tokenizers.spec import LatentSpec, TokenSpec

AT_ONCE = 8  # pictures
BEST_PSNR = 100.0  # dB, of pictures without an error: infinity is no number of JSON


@dataclass(frozen=True)
class Scores:
    """Means over the pictures by length.

    Args:
        psnr: in dB.
        lpips: None where its weights are not at hand.
        codebook: how the ids are spread; None of a continuous tokenizer.
    """

    psnr: dict[int, float]
    lpips: dict[int, float] | None
    codebook: CodebookUse | None

    def mean(self, metric: Literal["psnr", "lpips"]) -> float:
        """Over the lengths; higher is better, so LPIPS is negative."""
        values = self.psnr if metric == "psnr" else self.lpips
        if values is None:
            raise ValueError("LPIPS was not measured")
        mean = sum(values.values()) / len(values)
        return mean if metric == "psnr" else -mean

    def to_json(self) -> dict[str, Any]:
        """Plain tables; lengths are keys as text."""
        scores = {"psnr": self.psnr} if self.lpips is None else {"psnr": self.psnr, "lpips": self.lpips}
        named = {metric: {str(length): value for length, value in values.items()} for metric, values in scores.items()}
        return named if self.codebook is None else named | {"codebook": _codebook_json(self.codebook)}


class Validation:
    """Scores of tokenizers of one spec.

    Args:
        images: (N, 3, H, W) in [0, 1]; cut to whole tiles.
        lengths: prefixes; 0 stands for all tokens.
        lpips: measured too; None leaves it out.
        device: where it is measured; the tokenizers must lie there.

    Raises:
        ConfigError: pictures smaller than a tile, or a length that does not decode.
    """

    def __init__(
        self,
        images: Tensor,
        spec: TokenSpec | LatentSpec,
        lengths: Sequence[int],
        *,
        lpips: Lpips | None = None,
        device: torch.device | str = "cpu",
    ):
        self.images = whole_tiles(images, spec)
        self.lengths = tuple(dict.fromkeys(_checked(length or spec.max_tokens, spec) for length in lengths))
        self._lpips = None if lpips is None else lpips.to(device)
        self._device = device

    @torch.no_grad()
    def measure(self, tokenizer: AnyTokenizer) -> Scores:
        """Scores of a tokenizer of the spec given."""
        psnrs: dict[int, list[float]] = {length: [] for length in self.lengths}
        distances: dict[int, list[float]] = {length: [] for length in self.lengths}
        statistics = _statistics(tokenizer.spec)
        for first in range(0, len(self.images), AT_ONCE):
            images = self.images[first : first + AT_ONCE].to(self._device)
            strings = tokenizer.encode_grid(images)
            if statistics is not None and isinstance(strings, Tokens):
                statistics.update(strings.ids)
            for length, pictures in prefixes(tokenizer, strings, images.shape[2:], self.lengths):
                psnrs[length] += _psnrs(images, pictures)
                if self._lpips is not None:
                    distances[length] += self._lpips(images, pictures).tolist()
        codebook = None if statistics is None else statistics.compute()
        return Scores(_means(psnrs), None if self._lpips is None else _means(distances), codebook)


def prefixes(
    tokenizer: AnyTokenizer, strings: Tokens | Latents, size: Sequence[int], lengths: Sequence[int]
) -> Iterator[tuple[int, Tensor]]:
    """Whole pictures (N, 3, *size) from each of the lengths of the strings of their tiles."""
    rows, cols = (extent // tile for extent, tile in zip(size, tokenizer.spec.input_size, strict=True))
    for length in lengths:
        yield length, cast(Any, tokenizer).decode_grid(strings.prefix(length), rows, cols)


def whole_tiles(images: Tensor, spec: TokenSpec | LatentSpec) -> Tensor:
    """Images (N, 3, H, W) cut at the bottom and the right to whole tiles.

    Raises:
        ConfigError: not one tile is left.
    """
    height, width = (extent // tile * tile for extent, tile in zip(images.shape[2:], spec.input_size, strict=True))
    if not height or not width:
        raise ConfigError(f"data.crop_size is {images.shape[2]} pixels, expected at least the tokenizer's tile of {spec.input_size[0]}")
    return images[:, :, :height, :width]


def find_lpips(side: int, select: Literal["psnr", "lpips"]) -> Lpips | None:
    """LPIPS where it can be measured.

    Args:
        side: of the pictures, in pixels.

    Raises:
        ConfigError, MissingExtraError, WeightsError: it cannot, and weights are to be selected by it.
    """
    try:
        if side < MIN_SIDE:
            raise ConfigError(f"train.validation.select is lpips, which takes pictures of at least {MIN_SIDE} pixels a side, got {side}")
        return Lpips()
    except (ConfigError, MissingExtraError, WeightsError):
        if select == "lpips":
            raise
        return None


def _checked(length: int, spec: TokenSpec | LatentSpec) -> int:
    try:
        return spec.check_length(length)
    except LengthError as error:
        raise ConfigError(f"train.validation.lengths: {error}") from None


def _statistics(spec: TokenSpec | LatentSpec) -> CodebookStatistics | None:
    return None if isinstance(spec, LatentSpec) else CodebookStatistics(spec.codebook_sizes, spec.max_tokens)


def _codebook_json(use: CodebookUse) -> dict[str, Any]:
    """Of how many strings, mean and least over the positions, then all positions; K numbers a position."""
    told: dict[str, Any] = {"strings": use.num_strings}
    for name, values in (("usage", use.usage), ("entropy_bits", use.entropy_bits)):
        told |= {f"{name}_mean": float(values.mean()), f"{name}_min": float(values.min())}
        told[name] = [[round(value, 4) for value in position] for position in values.tolist()]
    return told


def _means(values: Mapping[int, Sequence[float]]) -> dict[int, float]:
    return {length: math.fsum(own) / len(own) for length, own in values.items()}


def _psnrs(images: Tensor, pictures: Tensor) -> Iterator[float]:
    for image, picture in zip(_pixels(images), _pixels(pictures), strict=True):
        yield min(psnr(image, picture), BEST_PSNR)


def _pixels(images: Tensor) -> np.ndarray:
    """(N, 3, H, W) in [0, 1] as (N, H, W, 3) uint8."""
    return to_eight_bit(images).permute(0, 2, 3, 1).contiguous().cpu().numpy()
