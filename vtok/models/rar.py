"""A decoder-only transformer over strings in any order: each token knows where the next one stands (RAR, arXiv 2411.00776)."""

from collections.abc import Iterable
from itertools import repeat

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention, silu

from vtok.models.causal_transformer import Attend
from vtok.models.conditions import Given
from vtok.models.linear import Linear
from vtok.models.recompute import run
from vtok.models.shared_ids import SharedIds

_EPS = 1e-6
BEFORE = 2  # tokens before a string: a learned one and the class


class RarConfig(BaseModel):
    """Sizes of a generator.

    Args:
        num_codes, num_tokens, num_classes, dim, depth, heads, hidden: as of `MaskedConfig`.
        rows: of the tables of positions, and of steps; published weights have 1024 and 100 more than tokens, of which the first
            `num_tokens` + 2 are used.
        dropout: share of what attention and MLP add that a training sets to 0.
        attention_dropout: likewise of the attention's weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    num_codes: int = Field(1024, ge=2, le=2**24)
    num_tokens: int = Field(256, ge=1, le=2**16)
    num_classes: int = Field(1000, ge=1, le=2**24)
    dim: int = Field(768, ge=1, le=16384)
    depth: int = Field(24, ge=0, le=256)
    heads: int = Field(16, ge=1, le=256)
    hidden: int = Field(3072, ge=1, le=2**17)
    rows: tuple[int, int] = (1280, 356)
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> "RarConfig":
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of {self.heads} heads")
        if min(self.rows) < self.num_tokens + BEFORE:
            raise ValueError(f"tables of {self.rows} rows are too short for {self.num_tokens} tokens and {BEFORE} before them")
        return self

    @property
    def ids(self) -> SharedIds:
        """The rows of its table; that of the mask is never used."""
        return SharedIds(self.num_codes, self.num_classes)


class RarBlock(nn.Module):
    """Attention and an MLP whose inputs are shifted and scaled, and outputs weighed, by what is known of the place (adaLN-zero)."""

    def __init__(self, config: RarConfig):
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(dim, eps=_EPS)
        self.mlp_norm = nn.LayerNorm(dim, eps=_EPS)
        self.qkv = Linear(dim, 3 * dim)
        self.q_norm = nn.LayerNorm(dim // config.heads, eps=_EPS)
        self.k_norm = nn.LayerNorm(dim // config.heads, eps=_EPS)
        self.attention_out = Linear(dim, dim)
        self.mlp_in = Linear(dim, config.hidden)
        self.mlp_out = Linear(config.hidden, dim)
        self.modulation = Linear(dim, 6 * dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, place: Tensor, attend: Attend) -> Tensor:
        """Tokens (B, T, D) and what is known of their places (B, T, D) to tokens (B, T, D)."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(silu(place)).chunk(6, -1)
        normed = self.attention_norm(x) * (1 + scale) + shift
        q, k, v = self.qkv(normed).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        gathered = attend(self.q_norm(q), self.k_norm(k), v)
        x = x + gate * self.dropout(self.attention_out(gathered.transpose(1, 2).flatten(2)))
        normed = self.mlp_norm(x) * (1 + mlp_scale) + mlp_shift
        out: Tensor = x + mlp_gate * self.dropout(self.mlp_out(self.dropout(gelu(self.mlp_in(normed)))))
        return out


class Rar(nn.Module):
    """Foretells the tokens of a string one after another, in an order of their places that it is told."""

    def __init__(self, config: RarConfig):
        super().__init__()
        self.config, dim = config, config.dim
        self.start = nn.Parameter(torch.zeros(dim))
        self.table = nn.Embedding(config.ids.num_rows, dim)
        self.positions = nn.Parameter(torch.empty(config.rows[0], dim))
        self.next_positions = nn.Parameter(torch.empty(config.rows[0], dim))
        self.steps = nn.Parameter(torch.empty(config.rows[1], dim))
        self.blocks = nn.ModuleList(RarBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim, eps=_EPS, elementwise_affine=False)
        self.modulation = Linear(dim, 2 * dim)
        self.head = Linear(dim, config.num_codes)
        self.checkpointing = False
        self._init()

    def forward(self, ids: Tensor, given: Given, order: Tensor | None = None, *, dropped: Tensor | None = None) -> Tensor:
        """Strings to logits (B, N + 1, K); entry j foretells the j-th token of the order, and the last entry nothing.

        Args:
            ids: (B, N) int64, in the order of their places.
            given: classes (B,) int64; None for "no class".
            order: (B, N) int64, the place of the j-th token; None for the order of the places.
            dropped: (B,) bool, true where a string shall do without its class.
        """
        places = torch.arange(self.config.num_tokens, device=ids.device).expand(len(ids), -1) if order is None else order
        classes = self.classes(given, len(ids), dropped)
        tokens = self.table(ids.gather(1, places))
        x = self.embedded(classes, tokens, places)
        attends = repeat(lambda q, k, v: scaled_dot_product_attention(q, k, v, dropout_p=self._attention_dropout(), is_causal=True))
        known = classes[:, None] + self.steps[: x.shape[1]]
        return self.logits(self.through(x, known, attends)[:, 1:], known[:, 1:])

    def classes(self, given: Given, num: int, dropped: Tensor | None = None) -> Tensor:
        """Classes as vectors (num, D)."""
        out: Tensor = self.table(self.config.ids.of_classes(given, num, dropped).to(self.table.weight.device))
        return out

    def embedded(self, classes: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        """What stands before a string and its first n tokens, (B, 2 + n, D), each with its own place and that of the next.

        Args:
            classes: (B, D).
            tokens: (B, n, D), of the first n places.
            places: (B, N) int64 of all tokens.
        """
        num = tokens.shape[1]
        start = (self.start + self.positions[0]).expand(len(classes), 1, -1)
        own = torch.cat([(classes + self.positions[1])[:, None], tokens + self.positions[BEFORE + places[:, :num]]], 1)
        coming = self.next_positions[BEFORE + places[:, : num + 1]]
        coming = torch.cat([coming, coming.new_zeros(len(coming), num + 1 - coming.shape[1], coming.shape[2])], 1)
        return torch.cat([start, own + coming], 1)

    def through(self, x: Tensor, known: Tensor, attends: Iterable[Attend]) -> Tensor:
        """Tokens (B, T, D) and what is known of their places (B, T, D) through all blocks."""
        for block, attend in zip(self.blocks, attends, strict=False):
            x = run(block, x, known, attend, again=self.checkpointing)
        return x

    def logits(self, hidden: Tensor, known: Tensor) -> Tensor:
        """(..., D) of tokens and of what is known of their places to (..., K) of the next ones."""
        scale, shift = self.modulation(silu(known)).chunk(2, -1)
        out: Tensor = self.head(self.norm(hidden) * (1 + scale) + shift)
        return out

    def _attention_dropout(self) -> float:
        return self.config.attention_dropout if self.training else 0.0

    @torch.no_grad()
    def _init(self) -> None:
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.trunc_normal_(part.weight, std=0.02)
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)
        for table in (self.positions, self.next_positions, self.steps):
            nn.init.trunc_normal_(table, std=0.02)
        for part in (*self.blocks, self):
            nn.init.zeros_(part.modulation.weight)
