"""Pictures of a data set as an evaluation takes them: cropped by rule, read ahead in a thread of their own."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from vtok.data.sources import Source
from vtok.errors import PictureError

Crop = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as it is measured.

    Args:
        index: its number in the data set.
        pixels: (H, W, 3) uint8.
        sha256: of height, width and pixels.
    """

    index: int
    key: str
    pixels: np.ndarray
    label: int | None
    caption: str | None

    @property
    def sha256(self) -> bytes:
        """Of the size and the pixels, 32 bytes."""
        height, width = self.pixels.shape[:2]
        return hashlib.sha256(f"{height} {width} ".encode() + np.ascontiguousarray(self.pixels).tobytes()).digest()


@dataclass(frozen=True, eq=False)
class Pictures:
    """Some pictures of a data set, in its order; `failures` has the key and the reason of those that cannot be read."""

    start: int
    readable: Sequence[Picture]
    failures: Sequence[tuple[str, str]] = field(default=())

    def by_size(self) -> Iterator[list[Picture]]:
        """Those of one size together."""
        ordered = sorted(self.readable, key=lambda picture: (picture.pixels.shape, picture.index))
        for _, same in groupby(ordered, key=lambda picture: picture.pixels.shape):
            yield list(same)


def read_ahead(source: Source, indices: Sequence[int], starts: Iterable[int], size: int, crop: Crop | None) -> Iterator[Pictures]:
    """Read chunks of a data set, each while the one before is worked on.

    Args:
        indices: of the pictures that count, in order.
        starts: places in `indices` at which the wanted chunks begin.
        size: places of a chunk.
        crop: what is done to each picture; None leaves them as they are.
    """
    with ThreadPoolExecutor(1) as reader:
        waiting = None
        for start in starts:
            following = reader.submit(_read, source, indices[start : start + size], start, crop)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def _read(source: Source, indices: Sequence[int], start: int, crop: Crop | None) -> Pictures:
    found, failures = [], []
    for index in indices:
        try:
            sample = source[index]
        except PictureError as error:
            failures.append((source.key(index), " ".join(str(error).split())))
            continue
        pixels = sample.pixels if crop is None else crop(sample.pixels)
        found.append(Picture(index, sample.key, pixels, sample.label, sample.caption))
    return Pictures(start, found, failures)
