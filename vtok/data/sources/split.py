"""The fixed split of a data set by file name, so that no picture is ever both trained on and used to choose by."""

import zlib
from collections.abc import Sequence
from pathlib import PurePosixPath

from vtok.data.sources.base import Sample, Source


def is_held_out(key: str) -> bool:
    """Whether a sample belongs to the held-out twentieth: crc32 of its file name (the last part of its key) divides by 20."""
    return zlib.crc32(PurePosixPath(key).name.encode("utf-8", "surrogateescape")) % 20 == 0


class Subset:
    """Some samples of a source, in the order given."""

    def __init__(self, source: Source, indices: Sequence[int], *, name: str) -> None:
        self.name = name
        self.class_names = source.class_names
        self._source = source
        self._indices = list(indices)

    @property
    def has_captions(self) -> bool:
        """Whether the whole source has."""
        return self._source.has_captions

    def __len__(self) -> int:
        return len(self._indices)

    def key(self, index: int) -> str:
        """The sample's key in the whole source."""
        return self._source.key(self._indices[index])

    def __getitem__(self, index: int) -> Sample:
        return self._source[self._indices[index]]
