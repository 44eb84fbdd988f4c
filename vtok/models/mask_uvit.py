"""A masked generator with long skips from early blocks to late ones (U-ViT, arXiv 2209.12152; TiTok, 2406.07550)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from vtok.models.conditions import Given
from vtok.models.linear import Linear
from vtok.models.mask_bert import MaskedConfig
from vtok.models.recompute import run


class MaskUvitConfig(MaskedConfig):
    """See `MaskedConfig`; half of the depth lies before the middle block and half behind it."""

    kind: Literal["uvit"] = "uvit"


class UvitBlock(nn.Module):
    """Attention without biases of queries, keys and values, then an MLP with the exact GELU; each on normed input and added."""

    def __init__(self, config: MaskUvitConfig):
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.attention_out = Linear(dim, dim)
        self.mlp_in = Linear(dim, config.hidden)
        self.mlp_out = Linear(config.hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, D) to tokens (B, T, D)."""
        q, k, v = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.attention_out(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        out: Tensor = x + self.mlp_out(gelu(self.mlp_in(self.mlp_norm(x))))
        return out


class JoiningBlock(UvitBlock):
    """A block behind the middle, which begins by joining its input with what an early block gave."""

    def __init__(self, config: MaskUvitConfig):
        super().__init__(config)
        self.join = Linear(2 * config.dim, config.dim)

    def forward(self, x: Tensor, early: Tensor) -> Tensor:  # type: ignore[override]
        """Tokens and early ones (B, T, D) to tokens (B, T, D)."""
        return super().forward(self.join(torch.cat([x, early], -1)))


class MaskUvit(nn.Module):
    """Says of each token of a string what it may be, from the tokens that are known and the class."""

    def __init__(self, config: MaskUvitConfig):
        super().__init__()
        self.config, half = config, config.depth // 2
        self.table = nn.Embedding(config.ids.num_rows, config.dim)
        self.positions = nn.Parameter(torch.empty(1 + config.num_tokens, config.dim))
        self.early = nn.ModuleList(UvitBlock(config) for _ in range(half))
        self.middle = UvitBlock(config)
        self.late = nn.ModuleList(JoiningBlock(config) for _ in range(half))
        self.norm = nn.LayerNorm(config.dim)
        self.head = Linear(config.dim, config.num_codes)
        self.checkpointing = False
        nn.init.trunc_normal_(self.positions, std=0.02)
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.trunc_normal_(part.weight, std=0.02)
            if isinstance(part, nn.Linear) and part.bias is not None:
                nn.init.zeros_(part.bias)

    def forward(self, ids: Tensor, given: Given, *, dropped: Tensor | None = None) -> Tensor:
        """Strings (B, N) int64, with the mask's id where a token is not known, to logits (B, N, K).

        Args: as of `MaskBert.forward`.
        """
        first = self.config.ids.of_classes(given, len(ids), dropped).to(ids.device)
        x = self.table(torch.cat([first[:, None], ids], 1)) + self.positions
        kept: list[Tensor] = []
        for block in self.early:
            x = run(block, x, again=self.checkpointing)
            kept.append(x)
        x = run(self.middle, x, again=self.checkpointing)
        for block in self.late:
            x = run(block, x, kept.pop(), again=self.checkpointing)
        out: Tensor = self.head(self.norm(x)[:, 1:])
        return out
