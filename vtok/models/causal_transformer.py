"""A transformer in which a token sees those up to itself, as LlamaGen has it (arXiv 2406.06525): RMS norms, gated MLPs, no biases."""

import math
from collections.abc import Callable, Iterable
from itertools import repeat

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from vtok.models.linear import Linear
from vtok.models.recompute import run
from vtok.models.rotary import rotate

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(q, k, v (B, heads, T, d) of the tokens at hand) to what they gather, (B, heads, T, d); it knows what may look at what."""

WIDTH_STEP = 256  # a multiple of which published models have in their MLPs


class CausalConfig(BaseModel):
    """Sizes of a causal transformer.

    Args:
        dim: width, a multiple of `heads`.
        depth: blocks.
        heads: of the attention.
        hidden: numbers inside an MLP; None for about as many weights as an MLP of four times the width has, as in `mlp_width`.
        qk_norm: norm queries and keys before they are turned.
        dropout: share of what attention and MLP add that a training sets to 0.
        drop_path: chance that a training leaves out the last block's attention or MLP for a sample; that of earlier ones grows evenly from
            0 (arXiv 1603.09382).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    dim: int = Field(768, ge=1, le=16384)
    depth: int = Field(12, ge=0, le=256)
    heads: int = Field(12, ge=1, le=256)
    hidden: int | None = Field(None, ge=1, le=2**17)
    qk_norm: bool = False
    dropout: float = Field(0.1, ge=0, lt=1)
    drop_path: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_fit(self) -> "CausalConfig":
        if self.dim % self.heads or self.head_dim % 4:
            raise ValueError(f"dim {self.dim} must be {self.heads} heads of a multiple of 4")
        return self

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.dim // self.heads


def mlp_width(dim: int) -> int:
    """Hidden numbers of published models: 8/3 of the width, rounded up to a multiple of 256."""
    return math.ceil(int(2 * (4 * dim) / 3) / WIDTH_STEP) * WIDTH_STEP


class RmsNorm(nn.Module):
    """x / sqrt(mean(x^2) + 1e-5) in float32 over the last axis (arXiv 1910.07467), in the type of x again, times a weight."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x.float(), x.shape[-1:], eps=1e-5).to(x.dtype) * self.weight


class CausalBlock(nn.Module):
    """Attention, then the MLP out(silu(gate x) * value x); each on normed input and added. Gate and value are one matrix."""

    def __init__(self, config: CausalConfig, drop_path: float = 0.0):
        super().__init__()
        dim, hidden = config.dim, config.hidden or mlp_width(config.dim)
        self.heads = config.heads
        self.attention_norm, self.mlp_norm = RmsNorm(dim), RmsNorm(dim)
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.q_norm: nn.Module = RmsNorm(config.head_dim) if config.qk_norm else nn.Identity()
        self.k_norm: nn.Module = RmsNorm(config.head_dim) if config.qk_norm else nn.Identity()
        self.attention_out = Linear(dim, dim, bias=False)
        self.gate_value = Linear(dim, 2 * hidden, bias=False)
        self.mlp_out = Linear(hidden, dim, bias=False)
        self.dropout, self.drop_path = nn.Dropout(config.dropout), nn.Dropout(drop_path)

    def forward(self, x: Tensor, turned_by: Tensor, attend: Attend) -> Tensor:
        """Tokens (B, T, D) to tokens (B, T, D).

        Args:
            turned_by: (T, d / 2) complex64, as `vtok.models.rotary.turns` has it for each token.
        """
        x = x + self._dropped(self._attention(self.attention_norm(x), turned_by, attend))
        gate, value = self.gate_value(self.mlp_norm(x)).chunk(2, -1)
        return x + self._dropped(self.mlp_out(silu(gate) * value))

    def _attention(self, x: Tensor, turned_by: Tensor, attend: Attend) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, T, d) each
        gathered = attend(rotate(self.q_norm(q), turned_by), rotate(self.k_norm(k), turned_by), v)
        out: Tensor = self.attention_out(gathered.transpose(1, 2).flatten(2))
        return out

    def _dropped(self, change: Tensor) -> Tensor:
        if not self.training:
            return change
        out: Tensor = self.dropout(change) * self.drop_path(change.new_ones(len(change), 1, 1))
        return out


class CausalTransformer(nn.Module):
    """Blocks one after another; norms before and after them belong to what uses it."""

    def __init__(self, config: CausalConfig):
        super().__init__()
        rates = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(CausalBlock(config, rate) for rate in rates)
        self.checkpointing = False

    def forward(self, x: Tensor, turned_by: Tensor, attends: Iterable[Attend]) -> Tensor:
        """Tokens (B, T, D) to tokens (B, T, D).

        Args:
            turned_by: (T, d / 2) complex64.
            attends: of each block: `whole` for all tokens of a string at once, the layers of a `KeyValueCache` for the next ones.
        """
        for block, attend in zip(self.blocks, attends, strict=False):
            x = run(block, x, turned_by, attend, again=self.checkpointing)
        return x


def whole(mask: Tensor | None = None) -> Iterable[Attend]:
    """For strings that are there from their first token on.

    Args:
        mask: (B, 1, T, T) bool, true where a token (third axis) may look at another; None where it may look at all up to itself.
    """
    return repeat(lambda q, k, v: scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None))
