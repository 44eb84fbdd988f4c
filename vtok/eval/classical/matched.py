"""A picture's largest file that is at most so large."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vtok.eval.classical.codecs import Codec


@dataclass(frozen=True)
class MatchedFile:
    """A file of a picture.

    Args:
        data: its bytes.
        quality: that it was written with.
        floor: whether it is the smallest that the codec has, and still larger than wanted.
    """

    data: bytes
    quality: float
    floor: bool


@dataclass(frozen=True, eq=False)
class MatchedFiles:
    """Files of one picture in one format. None is written twice.

    Args:
        pixels: (H, W, 3) uint8.
    """

    codec: Codec
    pixels: np.ndarray

    def within(self, num_bytes: int) -> MatchedFile:
        """The largest file of at most `num_bytes`, found by bisection over the codec's qualities; where there is none, its smallest.

        A codec whose files shrink somewhere as the quality rises may have a larger one that fits.

        Raises:
            PictureError, MissingExtraError: as `Codec.encode`.
        """
        qualities = self.codec.qualities
        fitting = bisect_right(qualities, num_bytes, key=lambda quality: len(self.data(quality)))
        quality = qualities[max(fitting - 1, 0)]
        return MatchedFile(self.data(quality), quality, floor=fitting == 0)

    def data(self, quality: float) -> bytes:
        """The file with a quality.

        Raises:
            PictureError, MissingExtraError: as `Codec.encode`.
        """
        if quality not in self._written:
            self._written[quality] = self.codec.encode(self.pixels, quality)
        return self._written[quality]

    @cached_property
    def _written(self) -> dict[float, bytes]:
        return {}
