"""A transformer over strings of several scales, all tokens of a scale at once (VAR, arXiv 2404.02905), with tables of its own for codes.

What a token of a scale is told is what the coarser scales have said of its place: their codes' vectors, brought to its scale and added.
"""

from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vtok.models.causal_transformer import CausalConfig, CausalTransformer, RmsNorm, whole
from vtok.models.conditions import ClassConfig, Given, NoConditionConfig, build_condition
from vtok.models.linear import Linear


class NextScaleConfig(BaseModel):
    """Sizes of a generator.

    Args:
        trunk: of the transformer.
        num_codes: of the codebook, which all scales share.
        scales: rows, columns of each scale, in the order of the string.
        condition: what the pictures are to show.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    trunk: CausalConfig = CausalConfig()
    num_codes: int = Field(4096, ge=2, le=2**24)
    scales: tuple[tuple[int, int], ...] = ((1, 1), (2, 2), (4, 4))
    condition: Annotated[NoConditionConfig | ClassConfig, Field(discriminator="kind")] = ClassConfig()

    @model_validator(mode="after")
    def _scales_are_there(self) -> "NextScaleConfig":
        if not self.scales or min(min(scale) for scale in self.scales) < 1:
            raise ValueError(f"scales are one or more pairs of rows and columns, got {self.scales}")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """Tokens of each scale."""
        return tuple(rows * cols for rows, cols in self.scales)

    @property
    def max_tokens(self) -> int:
        """Tokens of a string."""
        return sum(self.sizes)


class NextScale(nn.Module):
    """Foretells all tokens of a scale from the condition and the scales before it."""

    allowed: Tensor  # (1, 1, N, N) bool, whether a token (third axis) may look at another: those of its own scale and coarser ones

    def __init__(self, config: NextScaleConfig):
        super().__init__()
        self.config, dim = config, config.trunk.dim
        self.condition = build_condition(config.condition, dim)
        self.table = nn.Embedding(config.num_codes, dim)
        self.positions = nn.Parameter(torch.empty(config.max_tokens, dim))
        self.levels = nn.Parameter(torch.empty(len(config.scales), dim))
        self.trunk = CausalTransformer(config.trunk)
        self.norm = RmsNorm(dim)
        self.head = Linear(dim, config.num_codes, bias=False)
        self.register_buffer("allowed", _allowed(config.sizes), persistent=False)
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=0.02)
        for table in (self.positions, self.levels):
            nn.init.normal_(table, std=0.02)
        nn.init.zeros_(self.head.weight)

    def forward(self, ids: Tensor, given: Given, *, dropped: Tensor | None = None) -> Tensor:
        """Strings (B, N) int64 to the logits (B, N, K) of all tokens, each from the condition and coarser scales.

        Args:
            given: classes (B,) int64; None for "no condition".
            dropped: (B,) bool, true where a string shall do without its condition.
        """
        before = self.before(given, len(ids), dropped)
        maps = self.maps(ids)
        told = [self.told(maps[:level], level, before) for level in range(len(self.config.scales))]
        x = self.trunk(torch.cat(told, 1), self.turns(self.config.max_tokens), whole(self.allowed.to(ids.device)))
        return self.logits(x)

    def before(self, given: Given, num: int, dropped: Tensor | None = None) -> Tensor:
        """The condition as a token (num, 1, D)."""
        own = self.condition(given, num)
        return own if dropped is None else torch.where(dropped[:, None, None], self.condition(None, num), own)

    def maps(self, ids: Tensor) -> list[Tensor]:
        """Codes of whole scales (B, n) as maps of vectors, (B, D, rows, cols) each."""
        found, start = [], 0
        for scale, size in zip(self.config.scales, self.config.sizes, strict=True):
            if start + size > ids.shape[1]:
                break
            found.append(self.table(ids[:, start : start + size]).mT.unflatten(2, scale))
            start += size
        return found

    def told(self, maps: list[Tensor], level: int, before: Tensor) -> Tensor:
        """What the tokens of a scale are told, (B, size, D): the condition, their place, and what the maps of coarser scales say of it."""
        start = sum(self.config.sizes[:level])
        own = self.positions[start : start + self.config.sizes[level]] + self.levels[level] + before
        for coarse in maps:
            own = own + interpolate(coarse, self.config.scales[level], mode="bilinear", align_corners=False).flatten(2).mT
        return own

    def turns(self, length: int) -> Tensor:
        """(length, d / 2) complex64: nothing is turned, since places are added."""
        return torch.ones(length, self.config.trunk.head_dim // 2, dtype=torch.complex64, device=self.positions.device)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., K)."""
        out: Tensor = self.head(self.norm(hidden))
        return out


def _allowed(sizes: tuple[int, ...]) -> Tensor:
    levels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return (levels[:, None] >= levels)[None, None]
