"""A convolution of a map that was enlarged, computed on the small map."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d


class UpsampledConv(nn.Conv2d):
    """A 3x3 convolution of each cell repeated twice in both directions.

    Of a cell's four pixels each sees 2 x 2 cells, so four kernels of that size, made of sums of the nine weights, do less than half the
    work of the 3x3 kernel on the large map.

    Args:
        dim: channels in and out.
    """

    def __init__(self, dim: int):
        super().__init__(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, h, w) to (B, dim, 2 h, 2 w)."""
        height, width = x.shape[2:]
        kernels = [_halves(half.mT) for half in _halves(self.weight)]  # [row of the pixel][its column]: (N, C, 2 columns, 2 rows)
        parts = [[conv2d(x, kernel.mT, self.bias, padding=1) for kernel in row] for row in kernels]
        side_by_side = x.is_contiguous(memory_format=torch.channels_last)
        out = torch.empty(
            (len(x), self.out_channels, 2 * height, 2 * width),
            dtype=parts[0][0].dtype,
            device=x.device,
            memory_format=torch.channels_last if side_by_side else torch.contiguous_format,
        )
        for row in (0, 1):
            for col in (0, 1):
                out[:, :, row::2, col::2] = parts[row][col][:, :, row : row + height, col : col + width]
        return out


def _halves(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Three rows of weights (N, C, 3, m) to the two of the upper pixel of a cell, and the two of the lower one, (N, C, 2, m) each."""
    top, middle, bottom = weight.unbind(2)
    return torch.stack([top, middle + bottom], 2), torch.stack([top + middle, bottom], 2)
