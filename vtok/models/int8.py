"""Matrices stored as signed bytes, with one scale for each row or column: a quarter of the size, at an error far below that of coding."""

import torch
from torch import Tensor


def to_int8(values: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Round to bytes and a float32 scale, such that `values` is about bytes * scale.

    Args:
        values: (..., n, ...) float.
        dim: the axis that shares one scale; it stays in the scale with length 1.
    """
    scale = values.abs().amax(dim, keepdim=True).clamp(min=1e-12) / 127
    return (values / scale).round().to(torch.int8), scale.float()


def from_int8(stored: Tensor, scale: Tensor) -> Tensor:
    """Float32 values of bytes and their scale."""
    return stored.float() * scale
