"""How many tokens a training step decodes: the prefix rules, and their draws."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from torch import Tensor

from vtok.tokenizers.spec import LengthRules


class _Rule(BaseModel, ABC):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def chances(self, spec: LengthRules) -> Tensor:
        """(L,) float64 in proportion to how often each of `spec.prefix_lengths` is drawn; others never are."""


class Full(_Rule):
    """All tokens, always."""

    rule: Literal["full"] = "full"

    def chances(self, spec: LengthRules) -> Tensor:
        return (_lengths(spec) == spec.max_tokens).double()


class Uniform(_Rule):
    """Every length as often."""

    rule: Literal["uniform"] = "uniform"

    def chances(self, spec: LengthRules) -> Tensor:
        return torch.ones_like(_lengths(spec), dtype=torch.float64)


class TailDrop(_Rule):
    """Every length as often, one draw for the whole batch (One-D-Piece, arXiv 2501.10064)."""

    rule: Literal["tail_drop"] = "tail_drop"

    def chances(self, spec: LengthRules) -> Tensor:
        return torch.ones_like(_lengths(spec), dtype=torch.float64)


class Pow2(_Rule):
    """1, 2, 4, ... and all tokens, each as often (FlexTok, arXiv 2502.13967)."""

    rule: Literal["pow2"] = "pow2"

    def chances(self, spec: LengthRules) -> Tensor:
        return _power_or_full(spec).double()


class UniformPow2(_Rule):
    """A number from 1 to all tokens, each as often, rounded up to a power of two, to all tokens at most (FlexTok)."""

    rule: Literal["uniform_pow2"] = "uniform_pow2"

    def chances(self, spec: LengthRules) -> Tensor:
        lengths = _lengths(spec).double()
        power_below = torch.floor(2 ** torch.floor(torch.log2(lengths - 0.5)))  # 0 for 1, 1 for 2, 2 for 3 and 4, ...
        return torch.where(_power_or_full(spec), lengths - power_below, 0.0)


class Geometric(_Rule):
    """P(k) = p**(k - 1) * (1 - p), cut off after all tokens (nested dropout, arXiv 1402.0915)."""

    rule: Literal["geometric"] = "geometric"
    p: float = Field(gt=0, lt=1)

    def chances(self, spec: LengthRules) -> Tensor:
        beyond_first = _lengths(spec) - spec.prefix_lengths[0]  # so that the power is 1 somewhere, however long the string
        return torch.tensor(self.p, dtype=torch.float64) ** beyond_first


class Listed(_Rule):
    """These lengths, in proportion to their weights; each as often when no weights are given."""

    rule: Literal["list"] = "list"
    lengths: tuple[int, ...] = Field(min_length=1)
    weights: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = ()

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if len(set(self.lengths)) < len(self.lengths):
            raise ValueError(f"a length stands twice in {self.lengths}")
        if self.weights and (len(self.weights) != len(self.lengths) or not any(self.weights)):
            raise ValueError(f"weights are one for each of the {len(self.lengths)} lengths and not all 0, got {self.weights}")
        return self

    def chances(self, spec: LengthRules) -> Tensor:
        own = dict(zip(map(spec.check_length, self.lengths), self.weights or [1.0] * len(self.lengths), strict=True))
        return torch.tensor([own.get(length, 0.0) for length in spec.prefix_lengths], dtype=torch.float64)


def _from_name(value: Any) -> Any:
    return {"rule": value} if isinstance(value, str) else value


AnySingle = Full | Uniform | TailDrop | Pow2 | UniformPow2 | Geometric | Listed
SingleRule = Annotated[AnySingle, Field(discriminator="rule"), BeforeValidator(_from_name)]


class Pair(BaseModel):
    """All tokens and a prefix, both decoded in each step (NesTok)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rule: Literal["pair"] = "pair"
    of: SingleRule = Uniform()


PrefixRule = Annotated[AnySingle | Pair, Field(discriminator="rule"), BeforeValidator(_from_name)]
"""The type of the setting. A rule without settings of its own may stand as its name:
`prefix = "uniform"`, `prefix = { rule = "geometric", p = 0.9 }`, `prefix = { rule = "pair", of = "pow2" }`."""


FullRule = Annotated[Full, BeforeValidator(_from_name)]
"""Of what decodes whole strings alone."""


@torch.compiler.disable
def draw_lengths(rule: AnySingle | Pair, spec: LengthRules, indices: Tensor, generator: torch.Generator) -> list[Tensor]:
    """How many tokens of each sample to decode, once for each decode of the step: two for a pair, all tokens first.

    A sample's draw is the number at its index in the generator's stream, so it depends on neither the rest of its part of the batch nor
    on how the batch is split.

    Args:
        indices: (B,) int64, index of each sample in the global batch.
        generator: on the CPU, made from the seed and the step for this draw alone, so in the same state for every part of the batch.

    Returns:
        (B,) int64 tensors on the device of `indices`, all of lengths that decode.

    Raises:
        LengthError: a rule that lists a length that does not decode.
    """
    if isinstance(rule, Pair):
        return [torch.full_like(indices, spec.max_tokens), *draw_lengths(rule.of, spec, indices, generator)]
    places = torch.zeros_like(indices, device="cpu") if isinstance(rule, TailDrop) else indices.cpu()
    uniform = torch.rand(int(places.max()) + 1, dtype=torch.float64, generator=generator)[places]
    shares = rule.chances(spec).cumsum(0)
    drawn = torch.searchsorted(shares / shares[-1], uniform, right=True)
    return [_lengths(spec)[drawn].to(indices.device)]


def _lengths(spec: LengthRules) -> Tensor:
    return torch.tensor(spec.prefix_lengths)


def _power_or_full(spec: LengthRules) -> Tensor:
    lengths = _lengths(spec)
    return (lengths & (lengths - 1) == 0) | (lengths == spec.max_tokens)
