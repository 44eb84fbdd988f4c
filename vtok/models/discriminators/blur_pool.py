"""The discriminator of TiTok's training: a map that halves by blurring, then a head on its largest values in 16 x 16 fields."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d, conv2d, leaky_relu

from vtok.models.same_padding import pad_same

FIELDS = 16  # rows and columns of logits
SLOPE = 0.1  # of leaky ReLU below 0


class BlurPoolDiscriminator(nn.Module):
    """`depth` blocks of a convolution, blurred halving (arXiv 1904.11486) and norm, then two convolutions at 16 x 16.

    Pictures of any size give 16 x 16 logits: smaller maps are repeated, larger ones give the largest value of each field.

    Args:
        dim: channels after the first convolution and the first block, doubled by each further one; a multiple of 32.
        depth: blocks.
    """

    def __init__(self, dim: int = 128, depth: int = 3):
        super().__init__()
        widths = [dim, *(dim * 2**k for k in range(depth))]
        self.first = nn.Conv2d(3, dim, 5, padding=2)
        self.blocks = nn.ModuleList(_Block(*pair) for pair in pairwise(widths))
        self.mix = nn.Conv2d(widths[-1], widths[-1], 1)
        self.last = nn.Conv2d(widths[-1], 1, 5, padding=2)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (B, 1, 16, 16), high for images, of pictures (B, 3, H, W) in [0, 1], which are taken as they are."""
        maps = leaky_relu(self.first(pictures), SLOPE)
        for block in self.blocks:
            maps = block(maps)
        fields = adaptive_max_pool2d(maps, FIELDS)
        logits: Tensor = self.last(leaky_relu(self.mix(fields), SLOPE))
        return logits


class _Block(nn.Module):
    """(B, C, H, W) -> (B, D, ceil(H / 2), ceil(W / 2))."""

    kernel: Tensor

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.GroupNorm(32, out_channels)
        binomial = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", binomial.outer(binomial)[None, None], persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        return leaky_relu(self.norm(self._halved(self.conv(maps))), SLOPE)

    def _halved(self, maps: Tensor) -> Tensor:
        channels = maps.shape[1]
        return conv2d(pad_same(maps, 4, 2), self.kernel.expand(channels, -1, -1, -1), stride=2, groups=channels)
