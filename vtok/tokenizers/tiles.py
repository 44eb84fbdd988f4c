"""Cut a picture into a grid of tiles, and put tiles together. Neighbouring tiles may overlap; they are then blended."""

import torch
from einops import rearrange
from torch import Tensor

PIXELS_AT_ONCE = 1 << 18  # of tiles that go through a network together: 64 of 64 x 64, so that memory does not grow with the picture


def runs(num_tiles: int, tile_size: tuple[int, int]) -> list[slice]:
    """The tiles of a grid in parts that go through a network together."""
    step = max(1, PIXELS_AT_ONCE // (tile_size[0] * tile_size[1]))
    return [slice(first, min(first + step, num_tiles)) for first in range(0, num_tiles, step)]


def cut_tiles(images: Tensor, tile_size: tuple[int, int], overlap: int = 0) -> Tensor:
    """(B, C, H, W) to (B * rows * cols, C, h, w), row by row; H = (rows - 1) * (h - overlap) + h, and W likewise.

    Args:
        overlap: pixels that neighbouring tiles share, at most half a tile's side.

    Raises:
        ValueError: sides that are not a whole number of tiles, or an overlap out of range.
    """
    check_grid((images.shape[2], images.shape[3]), tile_size, overlap)
    height, width = tile_size
    tiles = images.unfold(2, height, height - overlap).unfold(3, width, width - overlap)
    return rearrange(tiles, "b c rows cols h w -> (b rows cols) c h w")


def stitch_tiles(tiles: Tensor, rows: int, cols: int, overlap: int = 0) -> Tensor:
    """The inverse of `cut_tiles`. Where float tiles overlap, one fades into the other.

    At offset i of an overlap of n pixels the right or lower tile has the weight (i + 1/2) / n, its neighbour the rest to 1; where four
    tiles meet, a weight is the product of that of the row and that of the column. What tiles agree on is not changed by a bit.

    Raises:
        ValueError: a number of tiles that does not fill whole pictures, or an overlap out of range.
    """
    num_pictures = count_pictures(len(tiles), rows, cols)
    if not overlap:
        return rearrange(tiles, "(b rows cols) c h w -> b c (rows h) (cols w)", rows=rows, cols=cols)
    height, width = tiles.shape[2:]
    down, across = _stride(height, overlap), _stride(width, overlap)
    falling = ((overlap - 0.5 - torch.arange(overlap, device=tiles.device)) / overlap).to(tiles.dtype)
    out = tiles.new_empty(num_pictures, tiles.shape[1], rows * down + overlap, cols * across + overlap)
    for row, strip in enumerate(rearrange(tiles, "(b rows cols) c h w -> rows b c h cols w", rows=rows, cols=cols)):
        band = out[:, :, row * down : row * down + height]
        above = band[:, :, :overlap].clone()
        _join(strip, falling, band)
        if row:
            band[:, :, :overlap].lerp_(above, falling[:, None])
    return out


def check_grid(size: tuple[int, int], tile_size: tuple[int, int], overlap: int) -> None:
    """Raise `ValueError` unless height, width are a whole number of tiles."""
    sides = list(zip(size, tile_size, strict=True))
    if any(whole < side or (whole - overlap) % _stride(side, overlap) for whole, side in sides):
        shared = f" that overlap by {overlap}" if overlap else ""
        raise ValueError(f"{size[0]} x {size[1]} is not a whole number of {tile_size[0]} x {tile_size[1]} tiles{shared}")


def count_pictures(num_tiles: int, rows: int, cols: int) -> int:
    """How many pictures of rows x cols tiles these are.

    Raises:
        ValueError: they do not fill whole pictures.
    """
    if rows < 1 or cols < 1 or num_tiles % (rows * cols):
        raise ValueError(f"{num_tiles} tiles do not fill grids of {rows} x {cols}")
    return num_tiles // (rows * cols)


def _stride(side: int, overlap: int) -> int:
    if not 0 <= overlap <= side // 2:
        raise ValueError(f"tiles with a side of {side} overlap by 0 to {side // 2}, not by {overlap}")
    return side - overlap


def _join(parts: Tensor, falling: Tensor, out: Tensor) -> None:
    """Write parts (..., cols, w) side by side into out (..., W); where two overlap, the left one has the weights `falling` (overlap,)."""
    cols, stride = parts.shape[-2], parts.shape[-1] - len(falling)
    cells = out[..., : cols * stride].unflatten(-1, (cols, stride))
    cells.copy_(parts[..., :stride])
    out[..., cols * stride :] = parts[..., -1, stride:]
    cells[..., 1:, : len(falling)].lerp_(parts[..., :-1, stride:], falling)
