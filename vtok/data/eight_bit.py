"""8-bit pixels: what they are, and the one conversion between them and pictures in [0, 1]: clamp, times 255, round half to even."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def check_pixels(pixels: np.ndarray) -> None:
    """Raise `ValueError` unless these are the pixels (H, W, 3) uint8 of a picture, at least one."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"pixels must be (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")


def to_eight_bit(images: Tensor) -> Tensor:
    """Round pictures to 8 bits.

    Args:
        images: float of any shape and precision, meant to be in [0, 1]; values beyond are clamped. Half precision is computed in float32.

    Returns:
        uint8 of the same shape, on the same device, without gradient.

    Raises:
        ValueError: not a float tensor, or one that holds NaN.
    """
    if not images.is_floating_point():
        raise ValueError(f"images must be float in [0, 1], got {images.dtype}")
    values = images.detach()
    values = values if values.element_size() >= 4 else values.float()
    if values.isnan().any():
        raise ValueError("images hold NaN, expected values in [0, 1]")
    return values.clamp(0, 1).mul_(255).round_().byte()


def from_eight_bit(pixels: np.ndarray) -> Tensor:
    """Pictures in [0, 1] from 8-bit pixels; `to_eight_bit` gives the same pixels back.

    Args:
        pixels: (H, W, 3) or (B, H, W, 3) uint8.

    Returns:
        (B, 3, H, W) float32 in [0, 1], contiguous, sharing no memory with `pixels`; B is 1 for a single picture.

    Raises:
        ValueError: another shape or dtype.
    """
    import torch

    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or pixels.shape[-1] != 3:
        raise ValueError(f"pixels must be (H, W, 3) or (B, H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    batch = pixels if pixels.ndim == 4 else pixels[None]
    values = np.array(batch.transpose(0, 3, 1, 2), dtype=np.float32, order="C")  # (B, 3, H, W)
    values /= 255
    return torch.from_numpy(values)
