"""A masked generator that is a plain BERT encoder, its norms behind the sums (MaskGIT, arXiv 2202.04200; TiTok, 2406.07550)."""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from vtok.models.conditions import Given
from vtok.models.linear import Linear
from vtok.models.recompute import run
from vtok.models.shared_ids import SharedIds

_EPS = 1e-12


class MaskedConfig(BaseModel):
    """Sizes of a masked generator.

    Args:
        num_codes: of the codebook.
        num_tokens: of a string.
        num_classes: those numbered from 0.
        dim, depth, heads: of the transformer.
        hidden: numbers inside an MLP.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    num_codes: int = Field(4096, ge=2, le=2**24)
    num_tokens: int = Field(32, ge=1, le=2**16)
    num_classes: int = Field(1000, ge=1, le=2**24)
    dim: int = Field(768, ge=1, le=16384)
    depth: int = Field(24, ge=0, le=256)
    heads: int = Field(16, ge=1, le=256)
    hidden: int = Field(3072, ge=1, le=2**17)

    @model_validator(mode="after")
    def _heads_fit(self) -> "MaskedConfig":
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of {self.heads} heads")
        return self

    @property
    def ids(self) -> SharedIds:
        """The rows of its table."""
        return SharedIds(self.num_codes, self.num_classes)


class MaskBertConfig(MaskedConfig):
    """See `MaskedConfig`.

    Args:
        dropout: share of embeddings, and of what attention and MLP add, that a training sets to 0.
        attention_dropout: likewise of the attention's weights.
    """

    kind: Literal["bert"] = "bert"
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.1, ge=0, lt=1)


class BertBlock(nn.Module):
    """Attention, then an MLP with the exact GELU; each added to its input and then normed."""

    def __init__(self, config: MaskBertConfig):
        super().__init__()
        dim = config.dim
        self.heads, self.attention_dropout = config.heads, config.attention_dropout
        self.qkv = Linear(dim, 3 * dim)
        self.attention_out = Linear(dim, dim)
        self.attention_norm = nn.LayerNorm(dim, eps=_EPS)
        self.mlp_in = Linear(dim, config.hidden)
        self.mlp_out = Linear(config.hidden, dim)
        self.mlp_norm = nn.LayerNorm(dim, eps=_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, D) to tokens (B, T, D)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        gathered = scaled_dot_product_attention(q, k, v, dropout_p=self.attention_dropout if self.training else 0.0)
        x = self.attention_norm(x + self.dropout(self.attention_out(gathered.transpose(1, 2).flatten(2))))
        out: Tensor = self.mlp_norm(x + self.dropout(self.mlp_out(gelu(self.mlp_in(x)))))
        return out


class MaskBert(nn.Module):
    """Says of each token of a string what it may be, from the tokens that are known and the class."""

    def __init__(self, config: MaskBertConfig):
        super().__init__()
        self.config, dim = config, config.dim
        self.table = nn.Embedding(config.ids.num_rows, dim)
        self.positions = nn.Parameter(torch.empty(1 + config.num_tokens, dim))
        self.kinds = nn.Parameter(torch.empty(2, dim))  # BERT's kinds of text: the first is added to all tokens, the second is unused
        self.norm = nn.LayerNorm(dim, eps=_EPS)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(BertBlock(config) for _ in range(config.depth))
        self.head = Linear(dim, config.num_codes)
        self.checkpointing = False
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=0.02)
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)
        for table in (self.positions, self.kinds):
            nn.init.normal_(table, std=0.02)

    def forward(self, ids: Tensor, given: Given, *, dropped: Tensor | None = None) -> Tensor:
        """Strings (B, N) int64, with the mask's id where a token is not known, to logits (B, N, K).

        Args:
            given: classes (B,) int64; None for "no class".
            dropped: (B,) bool, true where a string shall do without its class.
        """
        first = self.config.ids.of_classes(given, len(ids), dropped).to(ids.device)
        x = self.table(torch.cat([first[:, None], ids], 1)) + self.positions + self.kinds[0]
        x = self.dropout(self.norm(x))
        for block in self.blocks:
            x = run(block, x, again=self.checkpointing)
        out: Tensor = self.head(x[:, 1:])
        return out
