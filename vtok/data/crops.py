"""Cropping and resizing of 8-bit pixels. Resizing is Pillow's Lanczos, antialiased when it makes a picture smaller."""

import numpy as np
from PIL import Image

from vtok.data.eight_bit import check_pixels


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bring a picture to another size with Pillow's Lanczos filter (antialiased, no reducing shortcut).

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        (height, width, 3) uint8, C-contiguous, a copy.
    """
    _check(pixels, height, width)
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def center_crop(pixels: np.ndarray, size: int) -> np.ndarray:
    """The square in the middle; where the rest is odd, the larger part of it is cut off below and right.

    Args:
        pixels: (H, W, 3) uint8, both sides at least `size`.

    Returns:
        (size, size, 3), a view of `pixels`.

    Raises:
        ValueError: the picture is smaller than the square.
    """
    _check(pixels, size, size)
    height, width = pixels.shape[:2]
    if min(height, width) < size:
        raise ValueError(f"a square of {size} does not fit into a picture of {width}x{height}; resize it first")
    return _square(pixels, (height - size) // 2, (width - size) // 2, size)


def center_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """The square in the middle; of a picture smaller than it, the largest that it holds, enlarged.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        (size, size, 3) uint8, perhaps a view of `pixels`.
    """
    side = min(size, *pixels.shape[:2])
    square = center_crop(pixels, side)
    return square if side == size else resize(square, size, size)


def center_tile(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle of a picture as a tile of `size`, height and width in pixels; a picture smaller than its longer side is enlarged.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        (height, width, 3) uint8, perhaps a view of `pixels`.
    """
    height, width = size
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return center_square(pixels, side)[top : top + height, left : left + width]


def random_scale_crop(pixels: np.ndarray, size: int, *, scales: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """A random square of `size * scale` pixels a side, brought to `size`; scale is uniform in `scales`, the place uniform in the picture.

    A picture too small for that square gives the largest one that it holds, enlarged. Three numbers are drawn from `rng` whatever the
    picture.

    Args:
        pixels: (H, W, 3) uint8.
        size: side of the result in pixels.
        scales: smallest and largest side of the square in multiples of `size`; (1, 1) crops without resizing.

    Returns:
        (size, size, 3) uint8, C-contiguous, a copy.

    Raises:
        ValueError: scales that are not positive or do not rise.
    """
    _check(pixels, size, size)
    low, high = scales
    if not 0 < low <= high:
        raise ValueError(f"scales must be positive and rising, got {scales}")
    height, width = pixels.shape[:2]
    draw_scale, draw_top, draw_left = rng.random(3)
    side = min(max(1, round(size * (low + (high - low) * draw_scale))), height, width)
    square = _square(pixels, int(draw_top * (height - side + 1)), int(draw_left * (width - side + 1)), side)
    return square.copy() if side == size else resize(square, size, size)


def _square(pixels: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    return pixels[top : top + side, left : left + side]


def _check(pixels: np.ndarray, height: int, width: int) -> None:
    check_pixels(pixels)
    if min(height, width) < 1:
        raise ValueError(f"sizes must be positive, got {width}x{height}")
