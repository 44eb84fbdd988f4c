"""The contract of every decoder of quantised vectors, and the options that decoding takes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, Self

from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class DecodeOptions:
    """What stochastic or conditional decoders take; None means the model's own default.

    Args:
        steps: solver steps, at least 1.
        solver: name of the solver.
        guidance: guidance scale; 1 is none.
        guidance_rule: how the guided and unguided predictions are mixed.
        seed: one number, or one a picture (not a tile); None means 0.
        text: B captions, or embeddings (B, T, D).
    """

    steps: int | None = None
    solver: str | None = None
    guidance: float | None = None
    guidance_rule: Literal["cfg", "apg"] | None = None
    seed: int | Sequence[int] | None = None
    text: Sequence[str] | Tensor | None = None

    def given(self) -> frozenset[str]:
        """Names of the options that are set."""
        return frozenset(f.name for f in fields(self) if getattr(self, f.name) is not None)

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
