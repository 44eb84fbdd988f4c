"""Padding by which a convolution with stride s gives ceil(n / s) places of n, as TensorFlow's "SAME" does."""

from torch import Tensor
from torch.nn.functional import pad


def pad_same(maps: Tensor, kernel_size: int, stride: int = 1) -> Tensor:
    """Zeros around maps (B, C, H, W), for a convolution without padding of its own; an odd number puts one more below and to the right.

    A kernel of odd size with stride 1 gets (kernel_size - 1) / 2 on each side: there a convolution's own padding does the same.
    """
    (top, bottom), (left, right) = (_zeros(side, kernel_size, stride) for side in maps.shape[2:])
    return pad(maps, (left, right, top, bottom))


def _zeros(side: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """How many stand before and after `side` places."""
    total = max((-(-side // stride) - 1) * stride + kernel_size - side, 0)
    return total // 2, total - total // 2
