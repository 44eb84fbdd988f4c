"""What an evaluation measures: something that codes pictures and decodes prefixes of what it made."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from vtok.tokenizers.spec import LatentSpec, TokenSpec


class Coded(Protocol):
    """A batch of pictures of one size, coded once."""

    @property
    def ids(self) -> Tensor | None:
        """(strings, P, K) int64 at full length, picture by picture; None for a continuous model."""

    def decode(self, num_tokens: int) -> Tensor:
        """The pictures (B, 3, H, W) float in [0, 1] that the first tokens of each string give, of the source's size."""

    def num_bytes(self, num_tokens: int) -> int | None:
        """Bytes of the file of one picture with so many tokens a string; None for a continuous model."""


class Coder(Protocol):
    """Codes batches of pictures.

    What it makes of a picture depends neither on the others of its batch nor on the order, but for rounding.
    """

    @property
    def spec(self) -> TokenSpec | LatentSpec:
        """Of its strings."""

    def describe(self) -> Mapping[str, Any]:
        """What it is, JSON-able: names, digests, options; equal descriptions give equal pictures."""

    def encode(self, pixels: np.ndarray, numbers: Sequence[int], captions: Sequence[str | None]) -> Coded:
        """Code pixels (B, H, W, 3) uint8.

        Args:
            numbers: of the pictures in the data set; noise is drawn by them.
            captions: what each shows, for models that are told so.
        """
