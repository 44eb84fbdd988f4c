"""A pre-norm transformer over one sequence (arXiv 2010.11929, section 3.1), with fused projections and fused attention."""

from collections.abc import Sequence

import torch
from einops import rearrange
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vtok.models.linear import Linear, linear
from vtok.models.recompute import run

ALL = slice(None)


class TransformerConfig(BaseModel):
    """Sizes of a transformer.

    Args:
        dim: width, a multiple of `heads`.
        depth: blocks.
        heads: of the attention.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    dim: int = Field(192, ge=1, le=8192)
    depth: int = Field(6, ge=0, le=128)
    heads: int = Field(3, ge=1, le=128)

    @model_validator(mode="after")
    def _heads_fit(self) -> "TransformerConfig":
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of {self.heads} heads")
        return self


class Block(nn.Module):
    """Attention, then an MLP of four times the width with the exact GELU; each on normed input and added.

    Its attention begins as PyTorch's own does: packed q, k, v xavier-uniform, biases at 0.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = Linear(dim, 3 * dim)
        self.attention_out = Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp_in = Linear(dim, 4 * dim)
        self.mlp_out = Linear(4 * dim, dim)
        self.activation: nn.Module = nn.GELU()
        nn.init.xavier_uniform_(self.qkv.weight)
        for projection in (self.qkv, self.attention_out):
            nn.init.zeros_(projection.bias)

    def forward(self, x: Tensor, kept: slice) -> Tensor:
        """Tokens (B, T, D) to what the block makes of those at `kept`, which look at all of them."""
        x = x[:, kept] + self._attend(self.attention_norm(x), kept)
        return x + self.mlp_out(self.activation(self.mlp_in(self.mlp_norm(x))))

    def _attend(self, x: Tensor, kept: slice) -> Tensor:
        if kept == ALL:
            q, k, v = rearrange(self.qkv(x), "b t (qkv heads d) -> qkv b heads t d", qkv=3, heads=self.heads)
        else:
            own, others = self.qkv.weight.tensor_split([x.shape[2]]), self.qkv.bias.tensor_split([x.shape[2]])
            q = rearrange(linear(x[:, kept], own[0], others[0]), "b t (heads d) -> b heads t d", heads=self.heads)
            k, v = rearrange(linear(x, own[1], others[1]), "b t (kv heads d) -> kv b heads t d", kv=2, heads=self.heads)
        return self.attention_out(rearrange(scaled_dot_product_attention(q, k, v), "b heads t d -> b t (heads d)"))


class Transformer(nn.Module):
    """Blocks one after another; norms before and after them belong to what uses it.

    Args:
        config: sizes.
        block: the kind of the blocks.
    """

    def __init__(self, config: TransformerConfig, block: type[Block] = Block):
        super().__init__()
        self.blocks = nn.ModuleList(block(config.dim, config.heads) for _ in range(config.depth))
        self.checkpointing = False

    def forward(self, x: Tensor, kept: slice = ALL) -> Tensor:
        """Tokens (B, T, D) to those at `kept` after all blocks; the last block computes no others."""
        if not self.blocks:
            return x[:, kept]
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            x = run(block, x, kept if number == last else ALL, again=self.checkpointing)
        return x


@torch.no_grad()
def init_transformer(parts: Sequence[nn.Module]) -> None:
    """Truncated normal weights (std 0.02, cut at 2) of linear layers and convolutions, biases at 0; packed q, k, v stay as they are.

    As TiTok's networks begin (arXiv 2406.07550).
    """
    modules = [inner for part in parts for inner in part.modules()]
    packed = {module.qkv for module in modules if isinstance(module, Block)}
    for module in modules:
        if isinstance(module, nn.Linear | nn.Conv2d) and module not in packed:
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
