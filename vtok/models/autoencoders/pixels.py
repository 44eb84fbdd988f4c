"""No network at all: the low frequencies of each square of pixels, in an opponent colour space. Linear, orthonormal, nothing trained."""

import math

import torch
from einops import rearrange
from torch import Tensor

from vtok.models.autoencoders.base import Autoencoder

OPPONENT = ((1, 1, 1), (1, 0, -1), (1, -2, 1))  # brightness, red against blue, green against both; made orthonormal below


class Pixels(Autoencoder):
    """The lowest DCT coefficients of each square of `size` pixels: `bright`^2 of the brightness, `colour`^2 of each colour axis.

    The map of latents has one cell a square, its channels the coefficients. Since the transform is orthonormal, a squared error in the
    latents is the squared error in the pixels, and `encode` leaves out what `decode` cannot show.

    Args:
        size: side of a square in pixels; also the downsampling.
        bright: kept frequencies of the brightness along each axis, at most `size`.
        colour: kept frequencies of the two colour axes.
    """

    colours: Tensor  # (3, 3) rows are axes
    waves: Tensor  # (size, size) rows are frequencies

    def __init__(self, size: int = 64, bright: int = 28, colour: int = 14):
        super().__init__()
        self.downsample = size
        self.kept = (bright, colour, colour)
        self.channels = sum(n * n for n in self.kept)
        axes = torch.tensor(OPPONENT, dtype=torch.float64)
        self.register_buffer("colours", (axes / axes.norm(dim=1, keepdim=True)).float(), persistent=False)
        self.register_buffer("waves", _cosines(size), persistent=False)

    def encode(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return self._encode(images.float())

    def decode(self, latents: Tensor) -> Tensor:
        with torch.autocast(latents.device.type, enabled=False):
            return self._decode(latents.float())

    def _encode(self, images: Tensor) -> Tensor:
        squares = rearrange(images, "b c (rows y) (cols x) -> b c rows cols y x", y=self.downsample, x=self.downsample)
        axes = torch.einsum("ac,bcijyx->baijyx", self.colours, squares)
        parts = []
        for axis, n in enumerate(self.kept):
            low = self.waves[:n] @ axes[:, axis] @ self.waves[:n].T  # (B, rows, cols, n, n)
            parts.append(rearrange(low, "b rows cols u v -> b (u v) rows cols"))
        return torch.cat(parts, 1)

    def _decode(self, latents: Tensor) -> Tensor:
        axes = []
        for n, part in zip(self.kept, latents.split([n * n for n in self.kept], 1), strict=True):
            low = rearrange(part, "b (u v) rows cols -> b rows cols u v", u=n)
            axes.append(self.waves[:n].T @ low @ self.waves[:n])  # (B, rows, cols, y, x)
        squares = torch.einsum("ac,abijyx->bcijyx", self.colours, torch.stack(axes))
        return rearrange(squares, "b c rows cols y x -> b c (rows y) (cols x)")


def _cosines(size: int) -> Tensor:
    """The orthonormal DCT-II matrix (size, size)."""
    k, x = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64)
    waves = torch.cos(math.pi * k * (2 * x + 1) / (2 * size)) * math.sqrt(2 / size)
    waves[0] /= math.sqrt(2)
    return waves.float()
