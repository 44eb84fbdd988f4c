"""Going through a data set that has some broken pictures."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from vtok.data.sources.base import Sample, Source
from vtok.errors import DataError, PictureError

_log = logging.getLogger(__name__)


@dataclass
class Skipped:
    """The pictures that could not be read: (key, reason) of each."""

    pictures: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.pictures)

    def summary(self) -> str:
        """One line: how many, and the first three with their reasons."""
        shown = "; ".join(reason for _, reason in self.pictures[:3])
        return f"{len(self)} pictures skipped: {shown}" + ("; ..." if len(self) > 3 else "")


def readable(source: Source, indices: Iterable[int], *, skipped: Skipped | None = None) -> Iterator[Sample]:
    """The samples at the indices whose pictures can be read; the others are logged once, at the end.

    Args:
        skipped: a record to collect those in, for a caller that wants to list them.

    Raises:
        DataError: there were indices, and none could be read.
    """
    record = Skipped() if skipped is None else skipped
    num_read = 0
    for index in indices:
        try:
            sample = source[index]
        except PictureError as error:
            record.pictures.append((source.key(index), str(error)))
            continue
        num_read += 1
        yield sample
    if len(record) and not num_read:
        raise DataError(f"{source.name}: no picture could be read; {record.summary()}")
    if len(record):
        _log.warning("%s: %s", source.name, record.summary())
