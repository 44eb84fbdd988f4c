"""A decoder-only transformer over strings of tokens, with one codebook a position or several (LlamaGen, arXiv 2406.06525; FAR, 2411.16681).

Its string is that of the condition, then the tokens; the last token of the condition foretells the first of the string.
"""

import math
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from vtok.models.causal_transformer import CausalConfig, CausalTransformer, whole
from vtok.models.code_embeddings import CodeEmbeddings
from vtok.models.code_heads import AutoregressiveHead, CodeHead, FlattenedHeads, ParallelHeads
from vtok.models.conditions import ClassConfig, ConditionConfig, Given, build_condition, condition_mask
from vtok.models.placed_codes import PlacedEmbeddings, PlacedHead
from vtok.models.rotary import angles, turns


class GptConfig(BaseModel):
    """Sizes of a generator.

    Args:
        trunk: of the transformer.
        codebook_sizes: sub-tokens of one position.
        shape: places of a string: (length,) of a line, (rows, columns) of a grid that is read row by row.
        condition: what stands before a string.
        head: how a position's sub-tokens are foretold: "parallel" at once, without knowing of each other; "autoregressive" one after
            another by a small transformer, as FAR does; "flattened" one after another, each as a token of the trunk. With one codebook,
            parallel.
        head_depth: blocks of the small transformer.
        codes: "shared" where an id means the same at all positions; "placed" where each position has a codebook of its own.
        code_rank: numbers of a placed code's vector.
        token_dropout: share of the trunk's input that a training sets to 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    trunk: CausalConfig = CausalConfig()
    codebook_sizes: tuple[int, ...] = (16384,)
    shape: tuple[int, ...] = (16, 16)
    condition: ConditionConfig = ClassConfig()
    head: Literal["parallel", "autoregressive", "flattened"] = "parallel"
    head_depth: int = Field(0, ge=0, le=64)
    codes: Literal["shared", "placed"] = "shared"
    code_rank: int = Field(16, ge=1, le=1024)
    token_dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> "GptConfig":
        if not self.codebook_sizes or min(self.codebook_sizes) < 2:
            raise ValueError(f"codebook sizes must be 2 or more, got {self.codebook_sizes}")
        if len(self.shape) not in (1, 2) or min(self.shape) < 1:
            raise ValueError(f"a string's shape is (length,) or (rows, columns), got {self.shape}")
        if self.head != "parallel" and len(self.codebook_sizes) == 1:
            raise ValueError(f"one codebook has no {self.head} head; it is a parallel one")
        if (self.head == "autoregressive") != (self.head_depth > 0):
            raise ValueError(f"an autoregressive head, and no other, has blocks; this is {self.head} with {self.head_depth}")
        if self.codes == "placed" and len(self.codebook_sizes) > 1:
            raise ValueError(f"placed codes are of one codebook a position, got {len(self.codebook_sizes)}")
        if self.head == "autoregressive" and self.max_tokens < len(self.codebook_sizes) - 1:
            raise ValueError(f"an autoregressive head of {len(self.codebook_sizes)} codebooks needs as many places but one in a string")
        return self

    @property
    def max_tokens(self) -> int:
        """Positions of a string at full length."""
        return math.prod(self.shape)

    @property
    def steps_per_token(self) -> int:
        """Tokens of the trunk for one position."""
        return len(self.codebook_sizes) if self.head == "flattened" else 1


class Gpt(nn.Module):
    """Foretells each position of a string from the condition and the positions before it."""

    def __init__(self, config: GptConfig):
        super().__init__()
        self.config = config
        self.condition = build_condition(config.condition, config.trunk.dim)
        self.embeddings: Any
        self.head: Any
        self.embeddings, self.head = _codes(config)
        self.token_dropout = nn.Dropout(config.token_dropout)
        self.trunk = CausalTransformer(config.trunk)
        init_gpt(self)

    def forward(self, ids: Tensor, given: Given, *, dropped: Tensor | None = None) -> list[Tensor]:
        """Strings to the logits (B, N, V) of each of their K codebooks. Entry n is foretold from what is before position n.

        Args:
            ids: (B, N, K) int64, N of at most `max_tokens`.
            given: conditions of the strings; None for none.
            dropped: (B,) bool, true where the string shall do without its condition, as a training wants it for a part of them.

        Raises:
            ValueError: ids of another shape.
        """
        self._check(ids)
        before = self.condition(given, len(ids))
        if dropped is not None:
            before = torch.where(dropped[:, None, None], self.condition(None, len(ids)), before)
        first = before.shape[1] - 1
        x = self.token_dropout(torch.cat([before, self.embeddings(ids)[:, :-1]], 1))
        seen = self.condition.seen(given)
        mask = None if seen is None else condition_mask(seen, x.shape[1])
        hidden = self.trunk(x, self.turns(x.shape[1]).to(x.device), whole(mask))[:, first:]
        return self.head(hidden, ids, self.embeddings)

    def turns(self, length: int) -> Tensor:
        """What turns queries and keys of the first tokens of condition and string, (length, d / 2) complex64.

        Sub-tokens that are tokens of the trunk have places of their own on a line, and share that of their cell in a grid.
        """
        config, repeats = self.config, self.config.steps_per_token
        if len(config.shape) == 1:
            places = angles((repeats * config.max_tokens,), config.trunk.head_dim)
        else:
            places = angles(config.shape, config.trunk.head_dim).repeat_interleave(repeats, 0)
        return turns(places, self.condition.num_tokens)[:length]

    def _check(self, ids: Tensor) -> None:
        most, num_codebooks = self.config.max_tokens, len(self.config.codebook_sizes)
        if ids.ndim != 3 or ids.dtype != torch.int64 or ids.shape[2] != num_codebooks or not 1 <= ids.shape[1] <= most:
            raise ValueError(f"ids must be (B, 1 to {most}, {num_codebooks}) int64, got {tuple(ids.shape)} {ids.dtype}")


@torch.no_grad()
def init_gpt(model: Gpt) -> None:
    """Normal weights (std 0.02) of layers and tables, biases at 0; logits are 0, as LlamaGen's training begins."""
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
    if isinstance(model.head, CodeHead):
        for weight in model.head.outs.parameters():
            nn.init.zeros_(weight)


def _codes(config: GptConfig) -> tuple[CodeEmbeddings, CodeHead] | tuple[PlacedEmbeddings, PlacedHead]:
    """What reads ids, and what foretells them."""
    if config.codes == "placed":
        sizes = (config.max_tokens, config.codebook_sizes[0], config.code_rank, config.trunk.dim)
        return PlacedEmbeddings(*sizes), PlacedHead(*sizes)
    return CodeEmbeddings(config.codebook_sizes, config.trunk.dim, joined=config.head != "flattened"), _head(config)


def _head(config: GptConfig) -> CodeHead:
    match config.head:
        case "autoregressive":
            own = config.trunk.model_copy(update={"depth": config.head_depth})
            return AutoregressiveHead(own, config.codebook_sizes, config.shape)
        case "flattened":
            return FlattenedHeads(config.trunk, config.codebook_sizes)
    return ParallelHeads(config.trunk, config.codebook_sizes)
