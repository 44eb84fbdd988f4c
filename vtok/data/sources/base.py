"""What every data set gives: samples at random access, each with a name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture of a data set.

    Args:
        key: its name within the data set, parts split by "/", the last one the picture's file name where it has one.
        pixels: (H, W, 3) uint8, upright sRGB.
        label: class id from 0, or None.
        caption: what the picture shows in words, or None.
    """

    key: str
    pixels: np.ndarray
    label: int | None = None
    caption: str | None = None


class Source(Protocol):
    """A data set of pictures. Sources hold no open files, so they can be sent to other processes."""

    @property
    def name(self) -> str:
        """What to call the data set in messages and reports."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The name of each class id, where the data set states them."""

    @property
    def has_captions(self) -> bool:
        """Whether pictures may have captions: some, as far as it shows without looking at each."""

    def __len__(self) -> int: ...

    def key(self, index: int) -> str:
        """The key of a sample, found without decoding its picture."""

    def __getitem__(self, index: int) -> Sample:
        """Decode one sample.

        Raises:
            IndexError: beyond the end.
            PictureError: its picture is damaged, cut short or refused.
            DataError: the data set changed, or its label or caption cannot be read.
        """


def path_below(root: Path, file: Path) -> Path:
    """The path of a file below the folder that keys are relative to; its name alone where it lies elsewhere."""
    return file.relative_to(root) if file.is_relative_to(root) else Path(file.name)
