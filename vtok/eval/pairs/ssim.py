"""Structural similarity of 8-bit pictures (Wang et al. 2004)."""

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

_RADIUS, _SIGMA = 5, 1.5  # of the Gaussian window, in pixels
_K1, _K2 = 0.01, 0.03
_ROWS = 256  # at a time: a large picture costs a few MB
MIN_SIDE = 2 * _RADIUS + 1


def ssim(picture: np.ndarray, other: np.ndarray) -> float:
    """Mean over channels and over all places where the 11 x 11 Gaussian window fits, with population covariances; 1 for equal pictures.

    Args:
        picture, other: (H, W, 3) uint8, no side shorter than 11. Float pictures go through `vtok.data.to_eight_bit` first.

    Raises:
        ValueError: shapes or types that differ or are others, or a side that is too short.
    """
    if picture.shape != other.shape or picture.dtype != np.uint8 or other.dtype != np.uint8 or picture.ndim != 3:
        found = f"{picture.shape} {picture.dtype} and {other.shape} {other.dtype}"
        raise ValueError(f"SSIM takes two uint8 pictures of one shape, got {found}")
    height, width, channels = picture.shape
    if min(height, width) < MIN_SIDE or not channels:
        raise ValueError(f"SSIM takes pictures of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {width} x {height}")
    inside = 2 * _RADIUS
    bands = (slice(top, top + _ROWS + inside) for top in range(0, height - inside, _ROWS))
    total = sum(float(_map(_channels(picture[band]), _channels(other[band])).sum()) for band in bands)
    return total / (channels * (height - inside) * (width - inside))


def _channels(pixels: np.ndarray) -> Tensor:
    """(h, w, C) to (C, h, w) float64."""
    return torch.from_numpy(np.moveaxis(pixels, 2, 0).astype(np.float64))


def _map(x: Tensor, y: Tensor) -> Tensor:
    """The similarity (C, h - 10, w - 10) at each place of pictures (C, h, w) in [0, 255]."""
    mean_x, mean_y, xx, yy, xy = (_blurred(z) for z in (x, y, x * x, y * y, x * y))
    c1, c2 = (_K1 * 255) ** 2, (_K2 * 255) ** 2
    structure = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x**2 + yy - mean_y**2 + c2)
    return structure * (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)


def _blurred(z: Tensor) -> Tensor:
    window = _window()
    return conv2d(conv2d(z[:, None], window[None, None, :, None]), window[None, None, None])[:, 0]


@cache
def _window() -> Tensor:
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float64)
    weights = (-(offsets**2) / (2 * _SIGMA**2)).exp()
    return weights / weights.sum()
