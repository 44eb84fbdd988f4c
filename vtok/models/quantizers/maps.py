"""Latents of a map as the map, and maps of other sizes."""

from torch import Tensor
from torch.nn.functional import interpolate


def as_map(latents: Tensor, size: tuple[int, int]) -> Tensor:
    """Latents (B, h * w, D) to maps (B, D, h, w)."""
    return latents.mT.unflatten(2, size)


def as_latents(maps: Tensor) -> Tensor:
    """Maps (B, D, h, w) to latents (B, h * w, D)."""
    return maps.flatten(2).mT


def averaged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, D, H, W) to the means (B, h * w, D) of the cells of another size."""
    return as_latents(interpolate(maps, size, mode="area"))


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, D, h, w) to another size, bicubic."""
    return maps if maps.shape[2:] == size else interpolate(maps, size, mode="bicubic", align_corners=False)
