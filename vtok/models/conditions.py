"""What stands before a string that is generated: a class, a caption or nothing, as tokens of the network's width."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import gelu

from vtok.errors import UnsupportedError


@dataclass(frozen=True, eq=False)
class Captions:
    """Texts as a language model has embedded them, the last word at the end.

    Args:
        embeddings: (B, C, E) float; what is before the first word is 0.
        words: (B, C) bool, true where there is one.
    """

    embeddings: Tensor
    words: Tensor

    @classmethod
    def padded(cls, embeddings: Tensor, words: Tensor, num_tokens: int) -> "Captions":
        """Of embeddings (B, T, E) that start with the first word: the first `num_tokens` words, moved to the end.

        Args:
            words: (B, T) bool, true for the words, which come first.
        """
        embeddings, words = embeddings[:, :num_tokens], words[:, :num_tokens].bool()
        lacking = num_tokens - words.sum(1, keepdim=True)  # (B, 1)
        place = torch.arange(num_tokens, device=words.device) - lacking  # (B, num_tokens); below 0 before the first word
        there = place >= 0
        moved = embeddings.gather(1, place.clamp(min=0)[..., None].expand(-1, -1, embeddings.shape[2]))
        return cls(moved * there[..., None], there)

    def __getitem__(self, rows: slice | Tensor) -> "Captions":
        """Some of them."""
        return Captions(self.embeddings[rows], self.words[rows])

    def to(self, device: torch.device) -> "Captions":
        """The same on a device."""
        return Captions(self.embeddings.to(device), self.words.to(device))


Given = Tensor | Captions | None
"""Classes (B,) int64, or captions; None for strings without a condition."""


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NoConditionConfig(_Config):
    """Nothing but a learned token that a string starts with."""

    kind: Literal["none"] = "none"


class ClassConfig(_Config):
    """One of some classes.

    Args:
        num_classes: those numbered from 0.
        null: whether there is "no class" too, which guidance needs.
    """

    kind: Literal["class"] = "class"
    num_classes: int = Field(1000, ge=1, le=2**24)
    null: bool = True


class CaptionConfig(_Config):
    """A caption; "no caption" is a table of its own.

    Args:
        num_tokens: places for words.
        embedding_dim: numbers of a word's embedding; those of T5-XL have 2048.
    """

    kind: Literal["caption"] = "caption"
    num_tokens: int = Field(120, ge=1, le=4096)
    embedding_dim: int = Field(2048, ge=1, le=2**16)


ConditionConfig = Annotated[NoConditionConfig | ClassConfig | CaptionConfig, Field(discriminator="kind")]


class Condition(nn.Module, ABC):
    """The tokens before a string.

    Args:
        num_tokens: how many.
        has_null: whether there is a "no condition".
    """

    num_tokens: int
    has_null: bool

    @abstractmethod
    def forward(self, given: Given, num: int) -> Tensor:
        """(num, C, D); where None is given, of "no condition"."""

    @abstractmethod
    def check(self, given: Given, num: int) -> None:
        """Look that `num` such conditions can be followed.

        Raises:
            UnsupportedError: they cannot; the message says what can.
        """

    def seen(self, given: Given) -> Tensor | None:  # noqa: ARG002 - captions alone have gaps
        """(B, C) bool, true for the tokens that others may look at; None where that is all of them."""
        return None


class NoCondition(Condition):
    """One learned token."""

    num_tokens, has_null = 1, False

    def __init__(self, dim: int):
        super().__init__()
        self.start = nn.Parameter(torch.zeros(1, dim))

    def forward(self, given: Given, num: int) -> Tensor:  # noqa: ARG002
        return self.start.expand(num, -1, -1)

    def check(self, given: Given, num: int) -> None:  # noqa: ARG002
        if given is not None:
            raise UnsupportedError("this generator takes no condition; leave it out")


class ClassCondition(Condition):
    """A token for each class; that of "no class" is the last row of the table."""

    num_tokens = 1

    def __init__(self, config: ClassConfig, dim: int):
        super().__init__()
        self.num_classes, self.has_null = config.num_classes, config.null
        self.table = nn.Embedding(config.num_classes + config.null, dim)

    def forward(self, given: Given, num: int) -> Tensor:
        classes = given if isinstance(given, Tensor) else torch.full((num,), self.num_classes, device=self.table.weight.device)
        out: Tensor = self.table(classes)[:, None]
        return out

    def check(self, given: Given, num: int) -> None:
        if given is None and not self.has_null:
            raise UnsupportedError("this generator makes nothing without a class; give one for each string")
        if given is None:
            return
        if not isinstance(given, Tensor) or given.shape != (num,) or given.dtype != torch.int64:
            raise UnsupportedError(f"this generator takes classes, one whole number for each of {num} strings; got {_shown(given)}")
        if wrong := [number for number in given.tolist() if not 0 <= number < self.num_classes]:
            raise UnsupportedError(f"class {wrong[0]} asked, this generator knows 0 to {self.num_classes - 1}")


class CaptionCondition(Condition):
    """A token for each place of a caption, by two layers (LlamaGen, arXiv 2406.06525, section 2.2)."""

    has_null = True
    null_caption: Tensor

    def __init__(self, config: CaptionConfig, dim: int):
        super().__init__()
        self.num_tokens, self.embedding_dim = config.num_tokens, config.embedding_dim
        self.embed = nn.Linear(config.embedding_dim, dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        # What "no caption" would be as embeddings. It is not learned, but is among the published weights.
        self.register_buffer("null_caption", torch.randn(config.num_tokens, config.embedding_dim) / config.embedding_dim**0.5)

    def forward(self, given: Given, num: int) -> Tensor:
        x = given.embeddings.to(self.null_caption.dtype) if isinstance(given, Captions) else self.null_caption.expand(num, -1, -1)
        out: Tensor = self.out(gelu(self.embed(x), approximate="tanh"))
        return out

    def check(self, given: Given, num: int) -> None:
        wanted = (num, self.num_tokens, self.embedding_dim)
        if given is not None and (not isinstance(given, Captions) or given.embeddings.shape != wanted or given.words.shape != wanted[:2]):
            raise UnsupportedError(f"this generator takes captions with embeddings {wanted}; got {_shown(given)}")

    def seen(self, given: Given) -> Tensor | None:
        return given.words.bool() if isinstance(given, Captions) and not given.words.all() else None


def build_condition(config: NoConditionConfig | ClassConfig | CaptionConfig, dim: int) -> Condition:
    """The condition of such a kind, for a network of width `dim`."""
    if isinstance(config, ClassConfig):
        return ClassCondition(config, dim)
    return CaptionCondition(config, dim) if isinstance(config, CaptionConfig) else NoCondition(dim)


def condition_mask(seen: Tensor, length: int) -> Tensor:
    """What strings may look at behind a condition with gaps: (B, 1, L, L) bool, true where a token (third axis) may look at another.

    A token sees those up to itself but the gaps; a gap sees itself too, since it must see something.

    Args:
        seen: (B, C) bool, false for gaps.
        length: L, of condition and string.
    """
    there = torch.cat([seen, seen.new_ones(len(seen), length - seen.shape[1])], 1)[:, None]  # (B, 1, L)
    causal = torch.ones(length, length, dtype=torch.bool, device=seen.device).tril()
    itself = torch.eye(length, dtype=torch.bool, device=seen.device)
    return (causal & there | itself)[:, None]


def _shown(given: Tensor | Captions) -> str:
    if isinstance(given, Captions):
        return f"captions with embeddings {tuple(given.embeddings.shape)}"
    return f"numbers {tuple(given.shape)} {given.dtype}"
