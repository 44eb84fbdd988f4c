"""What quantizers share whose strings are maps of several sizes, one after another."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from vtok.errors import ConfigError
from vtok.models.quantizers.base import Quantizer


class LevelledQuantizer(Quantizer):
    """Strings of whole levels: positions are those of each level's map, row by row, first level first.

    A string is cut after a level; of a length between two ends the levels count that fit in whole. Every level says something of every
    number of the vectors.

    Args:
        sizes: rows, columns of each level's map; rows of 1 in one dimension.
        num_latents: N, rows times columns of the map that is coded.

    Raises:
        ConfigError: no levels, or levels without positions.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], num_latents: int):
        super().__init__()
        if not sizes or min(min(size) for size in sizes) < 1:
            raise ConfigError(f"levels have rows and columns, one level at least, got {tuple(sizes)}")
        self.sizes = tuple(sizes)
        self.num_latents = num_latents
        self.counts = tuple(rows * cols for rows, cols in sizes)  # positions of each level
        self.ends = tuple(accumulate(self.counts))

    def num_positions(self, num_latents: int) -> int:
        self.prefix_lengths(num_latents)
        return self.ends[-1]

    def prefix_lengths(self, num_latents: int) -> tuple[int, ...]:
        if num_latents != self.num_latents:
            raise ValueError(f"codes maps of {self.num_latents} latents, got {num_latents}")
        return self.ends

    def first_positions(self, num_latents: int) -> Tensor:
        self.num_positions(num_latents)
        return torch.zeros(num_latents * self.dim, dtype=torch.int64)

    def levels(self, ids: Tensor) -> Sequence[Tensor]:
        """Ids (B, P, K) to those of each level that they hold whole, (B, n, K)."""
        held = [count for count, end in zip(self.counts, self.ends, strict=True) if end <= ids.shape[1]]
        return ids[:, : sum(held)].split(held, 1)

    def errors_of_lengths(self, errors: Tensor) -> Tensor:
        """Errors (B, 1 + levels) of no level, one, two, ... to those of every length (B, 1 + P)."""
        kept = torch.tensor((0, *self.ends), device=errors.device)
        lengths = torch.arange(self.ends[-1] + 1, device=errors.device)
        return errors[:, torch.searchsorted(kept, lengths, right=True) - 1]
