"""What every tokenizer checks of what it is given."""

import math

from torch import Tensor

from vtok.errors import UnsupportedError
from vtok.models.decoders import DecodeOptions
from vtok.tokenizers.spec import LatentSpec, TokenSpec


def check_images(images: Tensor) -> tuple[int, int]:
    """Height and width of images.

    Raises:
        ValueError: they are not (B, 3, H, W) float in [0, 1].
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point() or images.shape[0] < 1:
        raise ValueError(f"images must be (B, 3, H, W) float, got {tuple(images.shape)} {images.dtype}")
    low, high = images.aminmax()
    if not (float(low) >= 0 and float(high) <= 1):
        raise ValueError(f"images must lie in [0, 1], got {float(low):.4g} to {float(high):.4g}")
    return images.shape[2], images.shape[3]


def check_options(options: DecodeOptions, known: frozenset[str], family: str) -> None:
    """Look that no option is given that the family does not have.

    Raises:
        UnsupportedError: one is; the message names it and those that there are.
    """
    if lacking := sorted(options.given() - known):
        raise UnsupportedError(f"{family} has no option {', '.join(lacking)}; it has {', '.join(sorted(known)) or 'none'}")


def decoded_overlap(overlap: int, spec: TokenSpec | LatentSpec, family: str) -> int:
    """Pixels by which decoded tiles overlap when those of the source overlap by `overlap`.

    Raises:
        ValueError: less than 0.
        UnsupportedError: more than half a tile, or no whole number of decoded pixels.
    """
    if overlap < 0:
        raise ValueError(f"overlap must be at least 0, got {overlap}")
    if overlap > (most := min(spec.input_size) // 2):
        raise UnsupportedError(f"an overlap of {overlap} pixels is more than half a tile; {family} takes 0 to {most}")
    down, across = (overlap * shown / side for side, shown in zip(spec.input_size, spec.output_size, strict=True))
    if down != across or not down.is_integer():
        found = f"{sides(spec.input_size)} pixels that decode to {sides(spec.output_size)}"
        raise UnsupportedError(f"an overlap of {overlap} pixels is no whole number of decoded ones: {family} has tiles of {found}")
    return int(down)


def eighth_of_a_tile(spec: TokenSpec | LatentSpec) -> int:
    """An overlap for tiles that do not see each other: an eighth of the side, or a little less where decoded tiles have another size."""
    side, shown = spec.input_size[0], spec.output_size[0]
    step = side // math.gcd(side, shown)
    return side // 8 // step * step


def sides(size: tuple[int, int]) -> str:
    """Height and width as messages have them."""
    return f"{size[0]} x {size[1]}"
