"""The Inception network of the FID (TensorFlow's graph of 2015-12-05), with the keys of its published PyTorch weights.

It is not torchvision's: average pooling leaves the border out of its count, the last block pools by maximum, and there are 1,008 classes.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, linear, max_pool2d

from vtok.data.tensor_file import read_tensors
from vtok.errors import WeightsError

SIDE = 299  # of the picture it takes, in pixels
NUM_FEATURES, NUM_CLASSES = 2048, 1008
_SPATIAL_BLOCK, _SPATIAL_CHANNELS = "Mixed_6d", 7  # TensorFlow's tensor mixed_6/conv: that block's first branch


class Inception(nn.Module):
    """The network; always used in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        blocks: dict[str, nn.Module] = {  # output for 299 x 299
            "Conv2d_1a_3x3": Conv(3, 32, 3, stride=2),  # 32 x 149 x 149
            "Conv2d_2a_3x3": Conv(32, 32, 3),  # 32 x 147 x 147
            "Conv2d_2b_3x3": Conv(32, 64, 3, padding=1),  # 64 x 147 x 147
            "MaxPool_1": nn.MaxPool2d(3, stride=2),  # 64 x 73 x 73
            "Conv2d_3b_1x1": Conv(64, 80, 1),  # 80 x 73 x 73
            "Conv2d_4a_3x3": Conv(80, 192, 3),  # 192 x 71 x 71
            "MaxPool_2": nn.MaxPool2d(3, stride=2),  # 192 x 35 x 35
            "Mixed_5b": BlockA(192, pooled=32),  # 256 x 35 x 35
            "Mixed_5c": BlockA(256, pooled=64),  # 288 x 35 x 35
            "Mixed_5d": BlockA(288, pooled=64),  # 288 x 35 x 35
            "Mixed_6a": BlockB(288),  # 768 x 17 x 17
            "Mixed_6b": BlockC(768, width=128),  # 768 x 17 x 17
            "Mixed_6c": BlockC(768, width=160),  # 768 x 17 x 17
            "Mixed_6d": BlockC(768, width=160),  # 768 x 17 x 17
            "Mixed_6e": BlockC(768, width=192),  # 768 x 17 x 17
            "Mixed_7a": BlockD(768),  # 1280 x 8 x 8
            "Mixed_7b": BlockE(1280, pool=_mean_pool),  # 2048 x 8 x 8
            "Mixed_7c": BlockE(2048, pool=_max_pool),  # 2048 x 8 x 8
        }
        for name, block in blocks.items():
            self.add_module(name, block)
        self.fc = nn.Linear(NUM_FEATURES, NUM_CLASSES)
        self._order = tuple(blocks)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """All that is measured of pictures (B, 3, 299, 299), normalised to about [-1, 1].

        Returns:
            "features" (B, 2048): the last block's mean over places. "logits" (B, 1008); "logits_unbiased" (B, 1008): without `fc.bias`, as
            the Inception score takes them. "spatial" (B, 2023): 7 channels at 17 x 17 places, the channels of a place together, for sFID.
        """
        return self.measured(self.blocks(images))

    def measured(self, blocks: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """The same of what `blocks` gives."""
        for name, maps in blocks:
            if name == _SPATIAL_BLOCK:  # its first branch comes first in its output
                spatial = maps[:, :_SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)
        features = maps.mean((2, 3))
        logits = linear(features, self.fc.weight)
        return {"features": features, "logits": logits + self.fc.bias, "logits_unbiased": logits, "spatial": spatial}

    def blocks(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Name and output (B, C, h, w) of each block in turn, of pictures (B, 3, 299, 299) normalised to about [-1, 1].

        Means over places after "MaxPool_1", "MaxPool_2", "Mixed_6e" and "Mixed_7c" are the features of 64, 192, 768 and 2,048 numbers.
        """
        maps = images
        for name in self._order:
            maps = self.get_submodule(name)(maps)
            yield name, maps


class Conv(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, channels: int, width: int, kernel: int | tuple[int, int], *, stride: int = 1, padding: int | tuple[int, int] = 0):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu()


class BlockA(nn.Module):
    """Convolutions of 1, of 5, twice of 3, and pooling to `pooled` channels; the size stays."""

    def __init__(self, channels: int, *, pooled: int):
        super().__init__()
        self.branch1x1 = Conv(channels, 64, 1)
        self.branch5x5_1 = Conv(channels, 48, 1)
        self.branch5x5_2 = Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Conv(channels, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = (
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.branch_pool(_mean_pool(x)),
        )
        return torch.cat(branches, 1)


class BlockB(nn.Module):
    """Halves the size, by convolutions of 3 and by pooling, to 480 channels more."""

    def __init__(self, channels: int):
        super().__init__()
        self.branch3x3 = Conv(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = Conv(channels, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        branches = (
            self.branch3x3(x),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            max_pool2d(x, 3, stride=2),
        )
        return torch.cat(branches, 1)


class BlockC(nn.Module):
    """Convolutions of 1, of 7 in rows and columns, the same twice, `width` channels between them, and pooling; the size stays."""

    def __init__(self, channels: int, *, width: int):
        super().__init__()
        self.branch1x1 = Conv(channels, 192, 1)
        self.branch7x7_1 = Conv(channels, width, 1)
        self.branch7x7_2 = _row(width, width, 7)
        self.branch7x7_3 = _column(width, 192, 7)
        self.branch7x7dbl_1 = Conv(channels, width, 1)
        self.branch7x7dbl_2 = _column(width, width, 7)
        self.branch7x7dbl_3 = _row(width, width, 7)
        self.branch7x7dbl_4 = _column(width, width, 7)
        self.branch7x7dbl_5 = _row(width, 192, 7)
        self.branch_pool = Conv(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branches = (
            self.branch1x1(x),
            self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
            self.branch7x7dbl_5(self.branch7x7dbl_4(twice)),
            self.branch_pool(_mean_pool(x)),
        )
        return torch.cat(branches, 1)


class BlockD(nn.Module):
    """Halves the size, by convolutions of 3, of 7 and 3, and by pooling, to 512 channels more."""

    def __init__(self, channels: int):
        super().__init__()
        self.branch3x3_1 = Conv(channels, 192, 1)
        self.branch3x3_2 = Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Conv(channels, 192, 1)
        self.branch7x7x3_2 = _row(192, 192, 7)
        self.branch7x7x3_3 = _column(192, 192, 7)
        self.branch7x7x3_4 = Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        branches = (
            self.branch3x3_2(self.branch3x3_1(x)),
            self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))),
            max_pool2d(x, 3, stride=2),
        )
        return torch.cat(branches, 1)


class BlockE(nn.Module):
    """Convolutions of 1, of 3 in rows beside columns, the same after another of 3, and pooling, to 2,048 channels; the size stays."""

    def __init__(self, channels: int, *, pool: Callable[[Tensor], Tensor]):
        super().__init__()
        self.branch1x1 = Conv(channels, 320, 1)
        self.branch3x3_1 = Conv(channels, 384, 1)
        self.branch3x3_2a = _row(384, 384, 3)
        self.branch3x3_2b = _column(384, 384, 3)
        self.branch3x3dbl_1 = Conv(channels, 448, 1)
        self.branch3x3dbl_2 = Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _row(384, 384, 3)
        self.branch3x3dbl_3b = _column(384, 384, 3)
        self.branch_pool = Conv(channels, 192, 1)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch3x3_1(x)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = (
            self.branch1x1(x),
            *(self.branch3x3_2a(once), self.branch3x3_2b(once)),
            *(self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)),
            self.branch_pool(self.pool(x)),
        )
        return torch.cat(branches, 1)


def _row(channels: int, width: int, length: int) -> Conv:
    return Conv(channels, width, (1, length), padding=(0, length // 2))


def _column(channels: int, width: int, length: int) -> Conv:
    return Conv(channels, width, (length, 1), padding=(length // 2, 0))


def _mean_pool(x: Tensor) -> Tensor:
    return avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _max_pool(x: Tensor) -> Tensor:
    return max_pool2d(x, 3, stride=1, padding=1)


def load_inception(file: Path) -> Inception:
    """The network with the weights of a file, in eval mode; old files without `num_batches_tracked` serve too.

    Raises:
        WeightsError: not its weights.
    """
    with torch.device("meta"):
        network = Inception()
    state = {name: value.float() if value.is_floating_point() else value for name, value in read_tensors(file).items()}
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"{file} is no FID Inception: {str(error).splitlines()[-1].strip()[:200]}") from None
    return network.requires_grad_(False).eval()
