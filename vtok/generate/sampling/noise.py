"""Noise of each string's own, so that what is drawn does not depend on the strings beside it."""

from collections.abc import Iterable

import torch
from torch import Tensor


class StringNoise:
    """Even noise for strings with a seed each.

    What a string gets is the same whatever is drawn for others, and however many tokens follow.
    """

    def __init__(self, seeds: Iterable[int]):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._room = torch.empty(0, dtype=torch.float64)

    def __call__(self, num: int, size: int) -> Tensor:
        """The next (num, size) float64 in [0, 1) of the first `num` strings, on the processor; good until the next call."""
        if self._room.numel() < num * size:
            self._room = self._room.new_empty(num * size)
        noise = self._room[: num * size].view(num, size)
        for row, generator in zip(noise, self.generators, strict=False):
            torch.rand(size, generator=generator, dtype=torch.float64, out=row)
        return noise
