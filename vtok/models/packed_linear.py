"""Linear layers whose weights lie in the processor's own order, for networks that are asked for a few rows at a time, many times over."""

import copy
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Network = TypeVar("Network", bound=nn.Module)

_TYPES = (torch.float32, torch.bfloat16)


class PackedLinear(nn.Module):
    """A linear layer by oneDNN with weights that were put in order once.

    With a few rows a product takes as long as its weights take to arrive. `nn.Linear` has them put in order anew each time, or read row by
    row.

    Args:
        source: has the weights, which stay shared with it; `can_pack` says yes to it. A later change of their values is not seen.
    """

    def __init__(self, source: nn.Linear):
        super().__init__()
        self.weight, self.bias = source.weight, source.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(source.weight.detach(), None)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., N), without gradients."""
        if x.dtype != self.weight.dtype or torch.is_autocast_enabled("cpu"):
            return functional.linear(x, self.weight, self.bias)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return out


def packed(network: Network) -> Network:
    """The same network for use without gradients, with a `PackedLinear` for each linear layer that can have one.

    All else is shared, or is shallow copies: neither the network's mode nor its values change. It takes the memory of the linear layers'
    weights once more, and a third of a second for a thousand million bytes of them.
    """
    if isinstance(network, nn.Linear):
        return cast(Network, PackedLinear(network)) if can_pack(network) else network
    own = copy.copy(network)
    own.__dict__["_modules"] = {name: None if part is None else packed(part) for name, part in network._modules.items()}
    return own


def can_pack(layer: nn.Linear) -> bool:
    """Whether the processor has an order of its own for a layer's weights: they are on it, in float32 or bfloat16, and oneDNN is there."""
    weight = layer.weight
    if weight.device.type != "cpu" or weight.dtype not in _TYPES or not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
