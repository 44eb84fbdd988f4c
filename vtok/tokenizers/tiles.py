"""Cut a picture into a grid of tiles, and put tiles together."""

from einops import rearrange
from torch import Tensor


def cut_tiles(images: Tensor, tile_size: tuple[int, int]) -> Tensor:
    """(B, C, rows * h, cols * w) to (B * rows * cols, C, h, w), row by row.

    Raises:
        ValueError: sides that are not multiples of the tile.
    """
    height, width = tile_size
    if images.shape[2] % height or images.shape[3] % width:
        raise ValueError(f"{images.shape[2]} x {images.shape[3]} is not a whole number of {height} x {width} tiles")
    return rearrange(images, "b c (rows h) (cols w) -> (b rows cols) c h w", h=height, w=width)


def stitch_tiles(tiles: Tensor, rows: int, cols: int) -> Tensor:
    """The inverse of `cut_tiles`.

    Raises:
        ValueError: a number of tiles that does not fill whole pictures.
    """
    if rows < 1 or cols < 1 or len(tiles) % (rows * cols):
        raise ValueError(f"{len(tiles)} tiles do not fill grids of {rows} x {cols}")
    return rearrange(tiles, "(b rows cols) c h w -> b c (rows h) (cols w)", rows=rows, cols=cols)
