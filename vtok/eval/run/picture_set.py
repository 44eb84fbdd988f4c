"""Which pictures are measured, and in which form."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtok.data.sources import Source
from vtok.eval.protocol.crops import CROPS
from vtok.eval.run.prepared import Pictures, read_ahead


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Pictures of a data set, evenly spaced, each cropped by rule.

    Args:
        source: the data set.
        name: what records call it: no path.
        fingerprint: of its files, see `vtok.data.sources.fingerprint`.
        count: of pictures; None for all.
        crop: a rule of `vtok.eval.protocol.crops`.
        size: side in pixels of the squares that are cropped; None leaves pictures as they are.
        chunk: of pictures that are worked on, and kept, together.
    """

    source: Source
    name: str
    fingerprint: str
    count: int | None
    crop: str
    size: int | None
    chunk: int

    def __len__(self) -> int:
        return min(self.count or len(self.source), len(self.source))

    @property
    def indices(self) -> list[int]:
        """Of the pictures in the data set, rising."""
        return [number * len(self.source) // len(self) for number in range(len(self))]

    @property
    def starts(self) -> range:
        """Places in `indices` at which chunks begin."""
        return range(0, len(self), self.chunk)

    def read(self, starts: Iterator[int] | list[int]) -> Iterator[Pictures]:
        """The chunks that begin at some places."""
        crop: Callable[[np.ndarray], np.ndarray] | None = None if self.size is None else _cropping(CROPS[self.crop], self.size)
        return read_ahead(self.source, self.indices, starts, self.chunk, crop)

    def describe(self) -> dict[str, Any]:
        """All that the pixels depend on, JSON-able."""
        crop = None if self.size is None else self.crop
        return {"fingerprint": self.fingerprint, "pictures": len(self), "of": len(self.source), "crop": crop, "size": self.size}


def _cropping(rule: Callable[[np.ndarray, int], np.ndarray], size: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: rule(pixels, size)
