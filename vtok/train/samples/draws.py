"""Random draws that depend on the seed and their place alone, not on how many processes there are or what was drawn before."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


@torch.compiler.disable
def generator(seed: int, *place: int) -> torch.Generator:
    """A generator for one place of a run: a step and what the draw is for, say. Places of different lengths never share one.

    Args:
        place: numbers of at least 0.
    """
    state = np.random.SeedSequence((seed, len(place), *place)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


@torch.compiler.disable
def noise(indices: Tensor, shape: Sequence[int], seed: int, *place: int) -> Tensor:
    """Standard normal noise (B, *shape) on the CPU, each sample's own by its index in the global batch.

    One draw for all would not do: what `randn` gives first depends on how much is asked of it.

    Args:
        indices: (B,).
        place: as for `generator`.
    """
    return torch.stack([torch.randn(*shape, generator=generator(seed, *place, index)) for index in indices.tolist()])


@torch.compiler.disable
def uniform(indices: Tensor, seed: int, *place: int, size: int = 1) -> Tensor:
    """Numbers in [0, 1) for each sample, (B, size) on the CPU, by its index in the global batch.

    Args:
        indices: (B,).
        place: as for `generator`.
    """
    return torch.stack([torch.rand(size, generator=generator(seed, *place, index)) for index in indices.tolist()])
