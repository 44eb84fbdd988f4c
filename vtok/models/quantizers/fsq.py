"""Finite scalar quantization (arXiv 2309.15505): each component is rounded to a few levels; no table is learned."""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from vtok.errors import ConfigError
from vtok.models.quantizers.base import Quantized, Quantizer
from vtok.models.quantizers.estimators import straight_through

SPILL = 1e-3  # share by which the bound passes the outermost level, so that it can be reached


class FiniteScalarQuantizer(Quantizer):
    """One id a latent: its components' levels as digits, the first the least significant. No losses.

    Level k of L stands for (k - L // 2) / (L // 2): -1 to 1 where L is odd, one step short of 1 where it is even.

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

    @property
    def span(self) -> Tensor:
        """(D,) steps from the middle of the levels to the lowest."""
        return self.levels // 2

    def forward(self, z: Tensor) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            bounded = self._bound(z.float())
            digits = self._round(bounded.detach())
            vectors = straight_through(bounded / self.span, self._values(digits))
        return Quantized(vectors, (digits * self.strides).sum(-1, keepdim=True))

    def lookup(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        vectors = self._values(ids // self.strides % self.levels)
        if lengths is not None:
            vectors = vectors * (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])[..., None]
        return vectors

    def _bound(self, z: Tensor) -> Tensor:
        """Into the range that rounds to the levels, -(L // 2) to (L - 1) // 2; an even number of them lies half a step lower."""
        half = (self.levels - 1) * (1 + SPILL) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        return (z + torch.atanh(offset / half)).tanh() * half - offset

    def _round(self, bounded: Tensor) -> Tensor:
        """What `_bound` gives to digits (B, N, D) int64, 0 to L - 1."""
        return bounded.round().long() + self.span

    def _values(self, digits: Tensor) -> Tensor:
        """Digits (B, N, D) to the numbers (B, N, D) float32 that they stand for."""
        return (digits - self.span).float() / self.span


class SymmetricScalarQuantizer(FiniteScalarQuantizer):
    """Levels from -1 to 1, evenly apart, whatever their number: 2 levels are -1 and 1, where `FiniteScalarQuantizer` has -1 and 0."""

    @classmethod
    def tiny(cls) -> Self:
        """40 codes of 3 components."""
        return cls((2, 4, 5))

    @property
    def span(self) -> Tensor:
        return (self.levels - 1) / 2

    def _bound(self, z: Tensor) -> Tensor:
        return self.span * (z.tanh() + 1)

    def _round(self, bounded: Tensor) -> Tensor:
        return (bounded + 0.5).floor().long()
