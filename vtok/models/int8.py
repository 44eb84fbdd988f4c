"""Matrices stored as signed bytes, with one scale for each row or column: a quarter of the size, at an error far below that of coding."""

from dataclasses import dataclass

import torch
from torch import Tensor

SMALL = 4096  # tensors of fewer numbers are not worth a scale


@dataclass(frozen=True, eq=False)
class Int8:
    """Values to be stored as bytes and a scale; `axes` share one scale."""

    values: Tensor
    axes: tuple[int, ...]

    def rounded(self) -> Tensor:
        """The float32 values that will be read back; rounding them again changes nothing."""
        return from_int8(*to_int8(self.values, self.axes))


def compact(value: Tensor, axes: tuple[int, ...] = ()) -> Tensor | Int8:
    """How a tensor of a model is stored small: matrices as bytes with a scale for each output, short floats in half precision.

    Args:
        axes: those that share one scale; by default all but the first, or the last alone of a stack of matrices (three axes).
    """
    if not value.is_floating_point():
        return value
    if value.ndim < 2 or value.numel() < SMALL:
        return value.half()
    return Int8(value, axes or ((2,) if value.ndim == 3 else tuple(range(1, value.ndim))))


def to_int8(values: Tensor, axes: int | tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Round to bytes and a float32 scale, such that `values` is about bytes * scale.

    Args:
        values: (..., n, ...) float.
        axes: those that share one scale; they stay in the scale with length 1.
    """
    exact = values.detach().abs().amax(axes, keepdim=True).clamp(min=1e-12).float() / 127
    mantissa, exponent = torch.frexp(exact)
    scale = torch.ldexp((mantissa * 2048).round() / 2048, exponent)  # 127 * scale has no rounding error, so a second pass finds the same
    return (values.detach() / scale).round().clamp(-127, 127).to(torch.int8), scale


def from_int8(stored: Tensor, scale: Tensor) -> Tensor:
    """Float32 values of bytes and their scale."""
    return stored.float() * scale
