"""Convolutions that smooth what each scale of a multi-scale string adds (VAR, arXiv 2404.02905)."""

from typing import cast

import numpy as np
from torch import Tensor, nn
from torch.nn.functional import conv2d

from vtok.errors import ConfigError


class ResidualConvolutions(nn.Module):
    """phi_k(h) = (1 - ratio) h + ratio conv_k(h), on maps (B, D, H, W); scales share a convolution with those near them.

    Args:
        dim: D.
        num_convolutions: from one for all scales to one for each; 4 as published.
        num_scales: how many scales there are.
        ratio: share of the convolved map.
        extent: rows, columns of a kernel, odd.

    Raises:
        ConfigError: more convolutions than scales, or none.
    """

    def __init__(self, dim: int, num_convolutions: int, num_scales: int, *, ratio: float = 0.5, extent: tuple[int, int] = (3, 3)):
        super().__init__()
        if not 1 <= num_convolutions <= num_scales:
            raise ConfigError(f"takes 1 to {num_scales} convolutions for {num_scales} scales, got {num_convolutions}")
        self.ratio = ratio
        self.padding = (extent[0] // 2, extent[1] // 2)
        self.convolutions = nn.ModuleList(nn.Conv2d(dim, dim, extent) for _ in range(num_convolutions))
        self.chosen = _nearest_ticks(num_convolutions, num_scales)

    def forward(self, maps: Tensor, scale: int) -> Tensor:
        """Maps (B, D, H, W) float32 of the scale with this index."""
        own = cast(nn.Conv2d, self.convolutions[self.chosen[scale]])
        convolved = conv2d(maps, own.weight.float(), cast(Tensor, own.bias).float(), padding=self.padding)
        return maps.lerp(convolved, self.ratio)


def _nearest_ticks(num_convolutions: int, num_scales: int) -> list[int]:
    """The convolution of each scale. In the middle of an odd number of scales numpy's rounding decides, as in published models."""
    margin = 1 / 3 / num_convolutions
    ticks = np.linspace(margin, 1 - margin, num_convolutions)
    return [int(np.argmin(np.abs(ticks - place))) for place in (k / max(1, num_scales - 1) for k in range(num_scales))]
