"""Square patches of a map as vectors, and back; the positions of patches."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn


def to_patches(maps: Tensor, size: int) -> Tensor:
    """Maps (B, C, rows * size, cols * size) to (B, rows * cols, size * size * C): row, column, channel, which is fastest."""
    return rearrange(maps, "b c (rows y) (cols x) -> b (rows cols) (y x c)", y=size, x=size)


def from_patches(patches: Tensor, size: int, rows: int) -> Tensor:
    """The inverse of `to_patches`."""
    return rearrange(patches, "b (rows cols) (y x c) -> b c (rows y) (cols x)", y=size, x=size, rows=rows)


def placed_patches(maps: Tensor, embed: nn.Linear, positions: Tensor) -> Tensor:
    """Maps (B, C, h, w) to embedded patches (B, rows * cols, D) with their positions, a smaller map's being of the upper left corner.

    Args:
        embed: numbers of a patch, size * size * C, to D.
        positions: (side, side, D).
    """
    size = math.isqrt(embed.in_features // maps.shape[1])
    rows, cols = maps.shape[2] // size, maps.shape[3] // size
    embedded: Tensor = embed(to_patches(maps, size))
    return embedded + positions[:rows, :cols].flatten(0, 1)


def sine_positions(side: int, dim: int) -> Tensor:
    """(side, side, dim) float32: sines and cosines of the row, then of the column, at dim / 4 rates from 1 to almost 1 / 10,000 a cell.

    Raises:
        ValueError: a dim that is no multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"positions of a plane take a width that is a multiple of 4, got {dim}")
    rates = 10_000.0 ** (-torch.arange(dim // 4) / (dim // 4))
    angles = torch.arange(side)[:, None] * rates  # (side, dim / 4)
    one = torch.cat([angles.sin(), angles.cos()], 1)
    rows, cols = one[:, None].expand(-1, side, -1), one[None].expand(side, -1, -1)
    return torch.cat([rows, cols], 2)
