"""Run a stack of local layers over a large map window by window, with the result of one run over the whole."""

from collections.abc import Callable

import torch
from torch import Tensor


def in_windows(layers: Callable[[Tensor], Tensor], x: Tensor, *, window: int, margin: int, scale: float = 1) -> Tensor:
    """Apply layers that see at most `margin` cells around each cell.

    Args:
        layers: maps (B, C, h, w) to (B, D, h * scale, w * scale).
        x: (B, C, H, W); a map of at most two windows' cells is run at once, since margins would cost more than they save.
        window: side of a window in cells of x, without its margin; window and margin times `scale` are whole.
        margin: cells around a window that are computed and thrown away.
        scale: cells of the output per cell of x.
    """
    height, width = x.shape[2:]
    if height * width <= 2 * window * window:
        return layers(x)
    out = torch.empty(0)
    for top in range(0, height, window):
        for left in range(0, width, window):
            bottom, right = min(top + window, height), min(left + window, width)
            up, start = max(top - margin, 0), max(left - margin, 0)
            part = layers(x[:, :, up : bottom + margin, start : right + margin])
            if not len(out):
                out = part.new_empty(len(x), part.shape[1], int(height * scale), int(width * scale))
            row, col = int((top - up) * scale), int((left - start) * scale)
            rows, cols = int((bottom - top) * scale), int((right - left) * scale)
            y, z = int(top * scale), int(left * scale)
            out[:, :, y : y + rows, z : z + cols] = part[:, :, row : row + rows, col : col + cols]
    return out
