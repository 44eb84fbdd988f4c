"""Views of a picture: its middle, and random parts of it, each brought to one size in one step."""

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vtok.data.eight_bit import check_pixels


@dataclass(frozen=True)
class View:
    """A part of a picture.

    Args:
        top, left, height, width: in pixels of the picture.
        mirrored: left and right changed.
    """

    top: float
    left: float
    height: float
    width: float
    mirrored: bool = False


def middle(picture: tuple[int, int], size: tuple[int, int]) -> View:
    """The largest part in the middle that has the shape of `size`; both are height, width in pixels."""
    scale = min(picture[0] / size[0], picture[1] / size[1])
    height, width = size[0] * scale, size[1] * scale
    return View((picture[0] - height) / 2, (picture[1] - width) / 2, height, width)


def random_view(
    picture: tuple[int, int], size: tuple[int, int], *, least_scale: float, mirror: bool, seed: int, key: str, number: int
) -> View:
    """A part of the shape of `size` somewhere in the picture, with sides of `least_scale` to 1 times those of `middle`.

    Args:
        seed, key, number: decide the part: of the data set, of the picture, of the view.
    """
    words = np.frombuffer(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest(), np.uint32)
    scale, down, across, turned = np.random.default_rng((seed, number, *words.tolist())).random(4)
    whole = middle(picture, size)
    part = least_scale + (1 - least_scale) * scale
    height, width = whole.height * part, whole.width * part
    return View(down * (picture[0] - height), across * (picture[1] - width), height, width, mirror and bool(turned < 0.5))


def seen(pixels: np.ndarray, view: View, size: tuple[int, int]) -> np.ndarray:
    """A view brought to `size` with Pillow's Lanczos filter (antialiased, no reducing shortcut).

    Args:
        pixels: (H, W, 3) uint8.
        size: height, width.

    Returns:
        (height, width, 3) uint8; of a view that is `size` already, the pixels themselves.
    """
    check_pixels(pixels)
    height, width = size
    box = (view.left, view.top, view.left + view.width, view.top + view.height)
    if (view.height, view.width) == (height, width) and view.left.is_integer() and view.top.is_integer():
        top, left = int(view.top), int(view.left)
        found = pixels[top : top + height, left : left + width]
    else:
        found = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS, box=box))
    return found[:, ::-1] if view.mirrored else found
