"""How published evaluations bring decoded pictures to 8 bits, if they do; the rules differ by up to a grey level, and FID notices."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vtok.data.eight_bit import to_eight_bit

Rounding = Callable[[Tensor], Tensor]  # float in [0, 1] of any shape -> the same shape, from 0 to 255


def truncate(images: Tensor) -> Tensor:
    """uint8: clamp, times 255, cut off what is behind the point (TiTok); half a grey level darker than `to_eight_bit` in the mean.

    8-bit pixels divided by 255 in float32 come back as they were.

    Raises:
        ValueError: not a float tensor, or one that holds NaN.
    """
    return _checked(images).clamp(0, 1).mul(255).byte()


def truncate_127(images: Tensor) -> Tensor:
    """uint8: of y = 2x - 1, 127.5 y + 128 clamped and cut off (ADM's sampling, LlamaGen): 255x, halves up, except near 255.

    Raises:
        ValueError: not a float tensor, or one that holds NaN.
    """
    return (127.5 * (2 * _checked(images) - 1) + 128).clamp(0, 255).byte()


def unrounded(images: Tensor) -> Tensor:
    """float32: clamp, times 255 (Open-MAGVIT2 and BSQ-ViT show the network such pictures).

    Raises:
        ValueError: not a float tensor, or one that holds NaN.
    """
    return _checked(images).clamp(0, 1).mul(255)


ROUNDINGS: Mapping[str, Rounding] = {"round": to_eight_bit, "truncate": truncate, "truncate_127": truncate_127, "none": unrounded}


def _checked(images: Tensor) -> Tensor:
    """In float32, without gradient."""
    if not images.is_floating_point():
        raise ValueError(f"images must be float in [0, 1], got {images.dtype}")
    values = images.detach().to(torch.float32)
    if values.isnan().any():
        raise ValueError("images hold NaN, expected values in [0, 1]")
    return values
