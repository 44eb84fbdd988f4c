"""What SSIM and MS-SSIM compare at each place: means, variances and covariance under an 11 x 11 Gaussian window."""

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad

RADIUS = 5  # of the window, in pixels
WINDOW = 2 * RADIUS + 1
_SIGMA = 1.5
_PIECE = 64  # pixels of a row that are blurred by one product
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def similarity(x: Tensor, y: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """Wang's similarity and its part without luminance (contrast and structure), with population covariances, where the window fits.

    Args:
        x, y: (N, h, w) float64 from 0 to 255.
        window: (11,) float64, its weights along either side.

    Returns:
        Two maps (N, h - 10, w - 10).
    """
    mean_x, mean_y, xx, yy, xy = _blurred(torch.stack([x, y, x * x, y * y, x * y]), window)
    structure = (2 * (xy - mean_x * mean_y) + _C2) / (xx - mean_x**2 + yy - mean_y**2 + _C2)
    return structure * (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1), structure


@cache
def gaussian_window(device: torch.device) -> Tensor:
    """Weights (11,) float64 of sum 1, of standard deviation 1.5 pixels."""
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64, device=device)
    weights = (-(offsets**2) / (2 * _SIGMA**2)).exp()
    return weights / weights.sum()


def _blurred(maps: Tensor, window: Tensor) -> Tensor:
    """(5, N, h, w) to (5, N, h - 10, w - 10)."""
    return _along_rows(_along_rows(maps, window).mT, window).mT


def _along_rows(maps: Tensor, window: Tensor) -> Tensor:
    """(..., w) to (..., w - 10): overlapping pieces times a banded matrix, which in float64 is faster than a convolution."""
    width = maps.shape[-1] - 2 * RADIUS
    piece = min(_PIECE, width)
    pieces = pad(maps, (0, -width % piece)).unfold(-1, piece + 2 * RADIUS, piece)  # (..., pieces, piece + 10)
    return (pieces @ _band(piece, window)).flatten(-2)[..., :width]


def _band(piece: int, window: Tensor) -> Tensor:
    """(piece + 10, piece): the window in each column, one row lower than in the column before."""
    rows = window.new_zeros(piece, piece + WINDOW)
    rows[:, :WINDOW] = window
    return rows.flatten()[: piece * (piece + 2 * RADIUS)].view(piece, -1).T  # rows one shorter than before: each begins one place later
