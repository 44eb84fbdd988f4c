"""Rotary positions (arXiv 2104.09864): neighbouring numbers of a query or key are a point of the plane, turned by the token's place."""

import torch
from torch import Tensor

BASE = 10000.0


def angles(shape: tuple[int, ...], head_dim: int) -> Tensor:
    """Those of all places of a line (length,) or of a grid (rows, cols)."""
    if len(shape) == 1:
        return line_angles(shape[0], head_dim)
    rows, cols = shape
    return grid_angles(rows, cols, head_dim)


def line_angles(length: int, head_dim: int) -> Tensor:
    """Angles (length, head_dim / 2) float32 of places on a line; a pair turns the more slowly the later it comes.

    Args:
        head_dim: even.
    """
    return torch.outer(torch.arange(length), _rates(head_dim))


def grid_angles(rows: int, cols: int, head_dim: int) -> Tensor:
    """Angles (rows * cols, head_dim / 2) float32 of a grid's cells, row by row: half of them say the row, then half the column.

    Args:
        head_dim: a multiple of 4.
    """
    rates = _rates(head_dim // 2)
    down, across = torch.outer(torch.arange(rows), rates), torch.outer(torch.arange(cols), rates)
    return torch.cat([down[:, None].expand(-1, cols, -1), across.expand(rows, -1, -1)], 2).flatten(0, 1)


def turns(places: Tensor, num_condition: int) -> Tensor:
    """What queries and keys are multiplied by, (num_condition + L, head_dim / 2) complex64, of angles (L, head_dim / 2).

    It is 0 for the tokens of the condition, as published weights have learned it (LlamaGen, arXiv 2406.06525): the queries and keys of
    those become 0, so that they say as much to every token, and see all that they may see alike.
    """
    return torch.cat([torch.zeros(num_condition, places.shape[1], dtype=torch.complex64), torch.polar(torch.ones_like(places), places)])


def rotate(x: Tensor, turned_by: Tensor) -> Tensor:
    """Queries or keys (B, heads, T, d), turned; computed in float32, in the type of x again.

    Args:
        turned_by: (T, d / 2) complex64.
    """
    points = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(points * turned_by).flatten(-2).to(x.dtype)


def _rates(dim: int) -> Tensor:
    """(dim / 2,) from 1 down to almost 1 / 10000."""
    return BASE ** (-torch.arange(0, dim, 2) / dim)
