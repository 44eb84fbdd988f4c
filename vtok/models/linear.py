"""Linear layers by the faster of PyTorch's two ways on a processor."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Linear):
    """`nn.Linear` by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x (B, T, D) times weight (N, D) transposed, plus bias (N,): (B, T, N).

    In float32 on a processor it is a convolution of one place, which oneDNN computes, without a copy. A matrix product goes to MKL there,
    which has half the speed on processors that are not Intel's (`benchmarks/titok_speed.py`).
    """
    usual = x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
    if usual or torch.compiler.is_compiling() or not torch.backends.mkldnn.is_available():  # a compiled graph would break at the question
        return functional.linear(x, weight, bias)
    places = x.mT[:, :, None]  # (B, D, 1, T), of channels that lie side by side
    return functional.conv2d(places, weight[:, :, None, None], bias)[:, :, 0].mT
