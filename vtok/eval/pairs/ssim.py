"""Structural similarity of 8-bit pictures (Wang et al. 2004)."""

import numpy as np
import torch
from torch import Tensor

from vtok.errors import UnsupportedError
from vtok.eval.pairs.windows import RADIUS, WINDOW, gaussian_window, similarity

_PIXELS = 1 << 18  # of all pictures at a time: the maps cost about 40 MB
MIN_SIDE = WINDOW


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
    pair = (torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, 2, 0)))[None] for pixels in (picture, other))
    return float(ssim_of_batch(*pair)[0])


def ssim_of_batch(images: Tensor, others: Tensor) -> Tensor:
    """`ssim` of each of images and its fellow in others, (B, C, H, W) uint8 or float from 0 to 255: (B,) float64 on their device.

    Raises:
        UnsupportedError: a side under 11 pixels.
    """
    batch, channels, height, width = images.shape
    if min(height, width) < MIN_SIDE:
        raise UnsupportedError(f"SSIM takes pictures of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {width} x {height}")
    rows = max(1, _PIXELS // (batch * width))
    window = gaussian_window(images.device)
    total = images.new_zeros(batch, dtype=torch.float64)
    for top in range(0, height - 2 * RADIUS, rows):
        x, y = (part[:, :, top : top + rows + 2 * RADIUS].double().flatten(0, 1) for part in (images, others))
        total += similarity(x, y, window)[0].reshape(batch, -1).sum(1)
    return total / (channels * (height - 2 * RADIUS) * (width - 2 * RADIUS))
