"""A large grid of tiles in bands of rows, so that memory does not grow with it."""

from collections.abc import Iterable

from torch import Tensor

TILES_AT_ONCE = 128


def bands(rows: int, cols: int) -> list[slice]:
    """The rows of a grid from its top to its bottom, in bands of about `TILES_AT_ONCE` tiles; a small grid is one band."""
    height = rows if rows * cols <= TILES_AT_ONCE else max(1, TILES_AT_ONCE // cols)
    return [slice(top, min(top + height, rows)) for top in range(0, rows, height)]


def filled(parts: Iterable[Tensor], out: Tensor, dim: int) -> Tensor:
    """`out` with the parts one after another along `dim`.

    As `torch.cat`, but the parts are never held together beside the whole.
    """
    start = 0
    for part in parts:
        size = part.shape[dim]
        out.narrow(dim, start, size).copy_(part)
        start += size
    return out
