"""The transformer of FlexTok (arXiv 2502.13967): norms without parameters, normed queries and keys, gated MLPs, no biases."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention, silu

from vtok.models.linear import Linear, linear
from vtok.models.transformer import ALL, TransformerConfig

Attend = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""(q (B, heads, Q, d), k, v (B, heads, T, d), scale) to (B, heads, Q, d); it knows what may look at what."""


def norm(x: Tensor) -> Tensor:
    """To mean 0 and variance 1 over the last axis; float32 inside autocast."""
    return layer_norm(x, x.shape[-1:], eps=1e-5)


def mlp_width(dim: int) -> int:
    """Hidden numbers of a gated MLP: about as many weights as an MLP of four times the width has."""
    return 2 * (4 * dim) // 3


class Attention(nn.Module):
    """Attention of normed queries and keys; scores are scaled by 8 / d, which is usual for heads of 64 alone."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.scale = 8 * heads / dim
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.out = Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, kept: slice, attend: Attend) -> Tensor:
        """Tokens (B, T, D) to what those at `kept` gather, (B, Q, D)."""
        if kept == ALL:
            q, k, v = rearrange(self.qkv(x), "b t (qkv heads d) -> qkv b heads t d", qkv=3, heads=self.heads)
        else:
            own, others = self.qkv.weight.tensor_split([x.shape[2]])
            q = rearrange(linear(x[:, kept], own, None), "b t (heads d) -> b heads t d", heads=self.heads)
            k, v = rearrange(linear(x, others, None), "b t (kv heads d) -> kv b heads t d", kv=2, heads=self.heads)
        gathered = attend(norm(q).to(v.dtype), norm(k).to(v.dtype), v, self.scale)
        out: Tensor = self.out(rearrange(gathered, "b heads t d -> b t (heads d)"))
        return out


class GatedMlp(nn.Module):
    """out(silu(gate x) * value x); gate and value are one matrix."""

    def __init__(self, dim: int):
        super().__init__()
        hidden = mlp_width(dim)
        self.gate_value = Linear(dim, 2 * hidden, bias=False)
        self.out = Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        gate, value = self.gate_value(x).chunk(2, -1)
        out: Tensor = self.out(silu(gate) * value)
        return out


class GatedBlock(nn.Module):
    """Attention, then the MLP; each on normed input and added."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.attention = Attention(config.dim, config.heads)
        self.mlp = GatedMlp(config.dim)

    def forward(self, x: Tensor, kept: slice, attend: Attend) -> Tensor:
        """Tokens (B, T, D) to what the block makes of those at `kept`."""
        x = x[:, kept] + self.attention(norm(x), kept, attend)
        out: Tensor = x + self.mlp(norm(x))
        return out


def patches_then_registers(num_patches: int) -> Attend:
    """Patches look at patches, a register at all patches and at the registers up to itself. Patches stand first.

    So patches never depend on registers, and the first k registers not on how many follow.
    """

    def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        total, first = k.shape[2], k.shape[2] - q.shape[2]  # of the tokens; those that ask are the last ones
        places = torch.arange(total, device=q.device)
        allowed = places <= places[max(first, num_patches) :, None]
        registers = scaled_dot_product_attention(q[:, :, num_patches - total :], k, v, allowed, scale=scale)
        if first >= num_patches:
            return registers
        own = slice(0, num_patches)
        patches = scaled_dot_product_attention(q[:, :, own], k[:, :, own], v[:, :, own], scale=scale)
        return torch.cat([patches, registers], 2)

    return attend


@torch.no_grad()
def init_gated(part: nn.Module) -> None:
    """Xavier-uniform linear layers, each of the matrices in a fused one by itself; biases at 0."""
    fused: dict[nn.Module, int] = {}
    for module in part.modules():
        if isinstance(module, Attention):
            fused[module.qkv] = 3
        elif isinstance(module, GatedMlp):
            fused[module.gate_value] = 2
    for module in part.modules():
        if isinstance(module, nn.Linear):
            for matrix in module.weight.chunk(fused.get(module, 1)):
                nn.init.xavier_uniform_(matrix)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
