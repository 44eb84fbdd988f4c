"""The squares that published evaluations cut out of pictures; two rules differ by a pixel or a half, which paired measures notice."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from PIL import Image

from vtok.data.eight_bit import check_pixels

Crop = Callable[[np.ndarray, int], np.ndarray]  # (H, W, 3) uint8, side in pixels -> (size, size, 3) uint8
_VAR_ZOOM = 1.125


def adm(pixels: np.ndarray, size: int) -> np.ndarray:
    """`center_crop_arr` of openai/guided-diffusion, also of DiT, LlamaGen, MAR and REPA.

    While the shorter side is at least twice the size, both are halved by averaging (an odd one is rounded down); then Pillow's bicubic
    brings the shorter to `size`, the longer rounded half to even, and the middle is cut out, the larger rest below and right.
    """
    _check(pixels, size)
    picture = Image.fromarray(pixels)
    while min(picture.size) >= 2 * size:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    scale = size / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    top, left = (picture.height - size) // 2, (picture.width - size) // 2
    return np.asarray(picture)[top : top + size, left : left + size].copy()


def resize_center(pixels: np.ndarray, size: int, *, resampling: Image.Resampling, zoom: float = 1.0) -> np.ndarray:
    """torchvision's `Resize` and `CenterCrop` of a picture of Pillow.

    A filter brings the shorter side to `size * zoom` pixels, rounded half to even, and the longer in proportion, rounded down; then the
    middle is cut out, from half of what is too much, rounded half to even.
    """
    _check(pixels, size)
    picture = Image.fromarray(pixels)
    shorter = round(size * zoom)
    width, height = (shorter * side // min(picture.size) for side in picture.size)
    picture = picture.resize((width, height), resampling)
    top, left = (round((side - size) / 2) for side in (height, width))
    return np.asarray(picture)[top : top + size, left : left + size].copy()


CROPS: Mapping[str, Crop] = {
    "adm": adm,
    "resize_center_bicubic": partial(resize_center, resampling=Image.Resampling.BICUBIC),  # TiTok, One-D-Piece
    "resize_center_bilinear": partial(resize_center, resampling=Image.Resampling.BILINEAR),
    "resize_center_lanczos": partial(resize_center, resampling=Image.Resampling.LANCZOS),  # BSQ-ViT
    "var": partial(resize_center, resampling=Image.Resampling.LANCZOS, zoom=_VAR_ZOOM),  # 256 out of 288: closer than the others
}


def _check(pixels: np.ndarray, size: int) -> None:
    check_pixels(pixels)
    if size < 1:
        raise ValueError(f"size must be positive, got {size}")
