"""Learned positions of a square of patches, for squares of other sizes."""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

BEYOND = 0.1  # of a patch: what published code adds to a side before it finds the scale, which stays in the coordinates


def positions_of(table: Tensor, side: int) -> Tensor:
    """Positions (1 + side^2, D) of a class token and a square of patches, from a learned table (1 + n^2, D), bicubic between its own.

    The class token's position is taken as it is, and all are where the square has the table's size. Otherwise patch i is looked up where
    a square of `side` + 0.1 patches would have it, as in the trainings of DINO (arXiv 2104.14294) and TokenFlow.
    """
    learned = math.isqrt(len(table) - 1)
    if side == learned:
        return table
    scale = (side + BEYOND) / learned
    maps = table[1:].T.unflatten(1, (learned, learned))[None]
    grown = interpolate(maps, scale_factor=(scale, scale), mode="bicubic", align_corners=False)
    return torch.cat([table[:1], grown[0].flatten(1).T])
