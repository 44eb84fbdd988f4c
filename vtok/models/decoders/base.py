"""The contract of every decoder of quantised vectors, and the options that decoding takes."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, Self, get_args

from torch import Tensor, nn

MAX_STEPS = 10_000
GuidanceRule = Literal["cfg", "apg"]


@dataclass(frozen=True, eq=False)
class DecodeOptions:
    """What stochastic or conditional decoders take; None means the model's own default.

    Args:
        steps: solver steps, 1 to 10,000.
        solver: name of the solver; each family has its own.
        guidance: guidance scale, finite and at least 0; 1 is none.
        guidance_rule: how the guided and unguided predictions are mixed.
        seed: one number from 0 to below 2**63, or one a picture (not a tile); None means 0.
        text: B captions, or embeddings (B, T, D).
        progress: told the share of the work that is done, 0 to 1, rising, by decoders that take steps. It is no option of a family.

    Raises:
        ValueError: a value out of its range.
    """

    steps: int | None = None
    solver: str | None = None
    guidance: float | None = None
    guidance_rule: GuidanceRule | None = None
    seed: int | Sequence[int] | None = None
    text: Sequence[str] | Tensor | None = None
    progress: Callable[[float], None] | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and not (_is_whole(self.steps) and 1 <= self.steps <= MAX_STEPS):
            raise ValueError(f"steps must be a whole number from 1 to {MAX_STEPS}, got {self.steps!r}")
        if self.guidance is not None and not 0 <= self.guidance < math.inf:
            raise ValueError(f"guidance must be a finite number of at least 0, got {self.guidance!r}")
        if self.guidance_rule is not None and self.guidance_rule not in get_args(GuidanceRule):
            raise ValueError(f"guidance_rule must be {' or '.join(get_args(GuidanceRule))}, got {self.guidance_rule!r}")
        given = 0 if self.seed is None else self.seed
        for seed in given if isinstance(given, Sequence) else [given]:
            if not (_is_whole(seed) and 0 <= seed < 2**63):
                raise ValueError(f"seed must be a whole number from 0 to below 2**63, got {seed!r}")

    def given(self) -> frozenset[str]:
        """Names of the options that are set."""
        return frozenset(f.name for f in fields(self) if f.name != "progress" and getattr(self, f.name) is not None)

    def check_pictures(self, num_pictures: int) -> None:
        """Raise `ValueError` for texts or seeds of another number of pictures."""
        for name, given in (("text", self.text), ("seed", self.seed)):
            if given is not None and not isinstance(given, int) and len(given) != num_pictures:
                raise ValueError(f"{name} of {len(given)} pictures given, {num_pictures} are decoded")

    def of_tiles(self, first: int, last: int, tiles_per_picture: int) -> Self:
        """The options of the tiles from `first` to before `last`, picture by picture: a tile has the text and the seed of its picture."""
        pictures = [tile // tiles_per_picture for tile in range(first, last)]
        text, seed = self.text, self.seed
        if text is not None:
            text = text[pictures] if isinstance(text, Tensor) else [text[picture] for picture in pictures]
        if seed is not None and not isinstance(seed, int):
            seed = [seed[picture] for picture in pictures]
        return replace(self, text=text, seed=seed)

    def of_part(self, first: int, last: int, count: int) -> Self:
        """The options of the parts from `first` to before `last`, of `count` decoded in turn: progress is told the share of all."""
        progress = self.progress
        if progress is None:
            return self
        return replace(self, progress=lambda share: progress((first + share * (last - first)) / count))


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pictures (B, 3, H, W) float, not yet clamped to [0, 1], and named features (layer outputs, logits) for training."""

    pictures: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)


class Decoder(nn.Module, ABC):
    """Quantised vectors (B, N, D) to pictures."""

    needs_grid: bool

    @abstractmethod
    def forward(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:
        """Decode the first `lengths` (B,) positions of each string."""


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
