"""Random draws that depend on the seed and their place alone, not on how many processes there are or what was drawn before."""

import numpy as np
import torch


@torch.compiler.disable
def generator(seed: int, *place: int) -> torch.Generator:
    """A generator for one place of a run: a step and what the draw is for, say. Places of different lengths never share one.

    Args:
        place: numbers of at least 0.
    """
    state = np.random.SeedSequence((seed, len(place), *place)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
