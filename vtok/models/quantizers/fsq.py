"""Finite scalar quantization (arXiv 2309.15505): each component is rounded to a few levels; no table is learned."""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from vtok.errors import ConfigError
from vtok.models.quantizers.base import Quantized, Quantizer

SPILL = 1e-3  # share by which the bound passes the outermost level, so that it can be reached


class FiniteScalarQuantizer(Quantizer):
    """One id a latent: its components' levels as digits, the first the least significant. No losses.

    Args:
        levels: of each component, at least 2; (8, 5, 5, 5) for 1,000 codes, (7, 5, 5, 5, 5) for 4,375.

    Raises:
        ConfigError: fewer levels, or more codes than 2**62.
    """

    levels: Tensor  # (D,) int64
    strides: Tensor  # (D,) int64: what a step of each digit adds to the id

    def __init__(self, levels: Sequence[int]):
        super().__init__()
        if not levels or min(levels) < 2 or math.prod(levels) > 2**62:
            raise ConfigError(f"FSQ takes at least 2 levels a component, and at most 2**62 codes, got {tuple(levels)}")
        self.dim = len(levels)
        self.codebook_sizes = (math.prod(levels),)
        self.register_buffer("levels", torch.tensor(levels))
        self.register_buffer("strides", torch.tensor([math.prod(levels[:k]) for k in range(len(levels))]), persistent=False)

    @classmethod
    def tiny(cls) -> Self:
        """60 codes of 3 components, an even number of levels among them."""
        return cls((4, 5, 3))

    def forward(self, z: Tensor) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            bounded = self._bound(z.float())
            steps = bounded.detach().round()
            ids = ((steps.long() + self.levels // 2) * self.strides).sum(-1, keepdim=True)  # (B, N, 1)
            vectors = (bounded + (steps - bounded).detach()) / (self.levels // 2)
        return Quantized(vectors, ids)

    def lookup(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        digits = ids // self.strides % self.levels  # (B, N, D)
        vectors = (digits - self.levels // 2).float() / (self.levels // 2)
        if lengths is not None:
            vectors = vectors * (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])[..., None]
        return vectors

    def _bound(self, z: Tensor) -> Tensor:
        """Into the range that rounds to the levels, -(L // 2) to (L - 1) // 2; an even number of them lies half a step lower."""
        half = (self.levels - 1) * (1 + SPILL) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        return (z + torch.atanh(offset / half)).tanh() * half - offset
