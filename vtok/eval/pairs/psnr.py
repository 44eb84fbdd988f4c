"""Peak signal-to-noise ratio of 8-bit pictures."""

import math

import numpy as np

PEAK = 255
_ROWS = 512  # at a time: a large picture costs a few MB


def psnr(picture: np.ndarray, other: np.ndarray) -> float:
    """10 log10(255^2 / MSE) in dB over all pixels and channels of two pictures; inf when they are equal.

    Args:
        picture, other: (H, W, 3) uint8. Float pictures go through `vtok.data.to_eight_bit` first: the figure is that of the saved file.

    Raises:
        ValueError: shapes or types that differ or are others.
    """
    if picture.shape != other.shape or picture.dtype != np.uint8 or other.dtype != np.uint8 or picture.size == 0:
        found = f"{picture.shape} {picture.dtype} and {other.shape} {other.dtype}"
        raise ValueError(f"PSNR takes two uint8 pictures of one shape, got {found}")
    error = sum(_squared_error(picture[top : top + _ROWS], other[top : top + _ROWS]) for top in range(0, len(picture), _ROWS))
    return decibels(error, picture.size)


def decibels(squared_error: float, num_values: int) -> float:
    """PSNR in dB of a summed squared error of so many values from 0 to 255."""
    return 10 * math.log10(PEAK**2 * num_values / squared_error) if squared_error else math.inf


def _squared_error(rows: np.ndarray, others: np.ndarray) -> int:
    difference = np.subtract(rows, others, dtype=np.int32)
    return int(np.square(difference, out=difference).sum(dtype=np.int64))
