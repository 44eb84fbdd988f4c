"""taef2: the tiny autoencoder of the FLUX.2 latent space (madebyollin/taesd, MIT), run in windows so that memory is bounded.

All layers but the group norms look a few cells around. The group norms stand only in blocks at 1/8 of the picture's sides and see the
whole map: they take their statistics from it in one pass, then run in windows like the rest. So a large picture decodes as it would at
once.
"""

from typing import cast

import torch
from torch import Tensor, nn

from vtok.models.autoencoders.base import Autoencoder
from vtok.models.autoencoders.windows import in_windows

WIDTH = 64
WINDOW = 64  # latents a side, 512 pixels
INNER = 192  # pixels a side: the layers at full size, whose activations are largest, see little and run in windows within the window


class Block(nn.Module):
    """relu(conv(x) + x)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(), nn.ReLU(inplace=True), _conv(), nn.ReLU(inplace=True), _conv())

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.conv(x).add_(x))


class PooledBlock(Block):
    """A block on x + pool(x), where pool is 1x1 Conv, GroupNorm, ReLU, 1x1 Conv and its norm sees the whole map."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.Sequential(
            nn.Conv2d(WIDTH, 4 * WIDTH, 1, bias=False), nn.GroupNorm(4, 4 * WIDTH), nn.ReLU(), nn.Conv2d(4 * WIDTH, WIDTH, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self._norm_folded_into_first_layer(x)
        last = cast(nn.Conv2d, self.pool[3]).weight.flatten(1)  # (64, 256)

        def local(part: Tensor) -> Tensor:
            wide = torch.relu_(torch.baddbmm(bias, weight, part.flatten(2)))  # (B, 256, h * w)
            return super(PooledBlock, self).forward(part + (last @ wide).view(part.shape))

        return in_windows(local, x, window=2 * WINDOW, margin=3)

    def _norm_folded_into_first_layer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The first layer and the norm after it as one affine map: weight (B, 256, 64), bias (B, 256, 1).

        A 1x1 layer's means and variances follow from the means and second moments of its input, so the wide map is never needed.
        """
        with torch.autocast(x.device.type, enabled=False):  # a variance is a small difference of large numbers
            return self._folded(x.float())

    def _folded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        norm = cast(nn.GroupNorm, self.pool[1])
        first = cast(nn.Conv2d, self.pool[0]).weight.flatten(1)  # (256, 64)
        cells = x.flatten(2)  # (B, 64, h * w)
        mean = cells.mean(2) @ first.T  # (B, 256)
        square = ((first @ (cells @ cells.mT / cells.shape[2])) * first).sum(2)  # (B, 256)
        of_group = (len(x), norm.num_groups, -1)
        group_mean = mean.view(of_group).mean(2, keepdim=True)
        group_variance = square.view(of_group).mean(2, keepdim=True) - group_mean.square()
        gain = norm.weight.view(1, norm.num_groups, -1) * (group_variance + norm.eps).rsqrt()  # (B, groups, 64)
        bias = norm.bias.view(1, norm.num_groups, -1) - gain * group_mean
        return gain.flatten(1)[..., None] * first, bias.flatten(1)[..., None]


class Taef2(Autoencoder):
    """32 channels at 1/8 of each side, values in about [-5, 5]; weights are not made here, they come with a model folder."""

    downsample = 8
    channels = 32

    def __init__(self) -> None:
        super().__init__()
        down = [_conv(stride=2, bias=False), Block(), Block(), Block()]
        self.encoder = nn.Sequential(
            *(_conv(3), Block(), *down, _conv(stride=2, bias=False), Block(), Block(), Block()),
            *(_conv(stride=2, bias=False), PooledBlock(), PooledBlock(), PooledBlock(), _conv(outputs=self.channels)),
        )
        self.decoder = nn.Sequential(
            *(_SoftClamp(), _conv(self.channels), nn.ReLU(), PooledBlock(), PooledBlock(), PooledBlock()),
            *(nn.Upsample(scale_factor=2), _conv(bias=False), Block(), Block(), Block()),
            *(nn.Upsample(scale_factor=2), _conv(bias=False), Block(), Block(), Block()),
            *(nn.Upsample(scale_factor=2), _conv(bias=False), Block(), _conv(outputs=3)),
        )

    def encode(self, images: Tensor) -> Tensor:
        # 65 pixels of sight: 5 at full size, 20 at 1/2, 40 at 1/4
        x = in_windows(self._down, images, window=8 * WINDOW, margin=72, scale=1 / 8)
        for block in self.encoder[11:14]:
            x = block(x)  # not as one call, which would keep the first map while the second makes the third
        return in_windows(self.encoder[14], x, window=4 * WINDOW, margin=1)

    def decode(self, latents: Tensor) -> Tensor:
        x = in_windows(self.decoder[:3], latents, window=4 * WINDOW, margin=1)
        for block in self.decoder[3:6]:
            x = block(x)
        # 8.2 cells of sight: 10 at 1/4, 10 at 1/2, 5 at full size
        return in_windows(self._up, x, window=WINDOW, margin=9, scale=8)

    def decoder_parameters(self) -> list[nn.Parameter]:
        return list(self.decoder.parameters())

    def _down(self, images: Tensor) -> Tensor:
        halves: Tensor = self.encoder[3:11](in_windows(self.encoder[:3], images, window=INNER, margin=6, scale=1 / 2))
        return halves

    def _up(self, x: Tensor) -> Tensor:
        return in_windows(self.decoder[16:], self.decoder[6:16](x), window=INNER // 2, margin=3, scale=2)


class _SoftClamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


def _conv(inputs: int = WIDTH, outputs: int = WIDTH, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias)
