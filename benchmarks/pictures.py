"""The pictures that a script measures on, and the options that name them."""

import argparse
import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vtok.data.sources import Sample, open_source


class Pictures:
    """Pictures of a data set in its order, with progress on standard error and a digest of what was read.

    Args:
        place: as `open_source` takes it.
        split: "all", "train" or "held_out".
        count: evenly spaced ones; all when None.
    """

    def __init__(self, place: str, *, split: str = "all", count: int | None = None):
        self.place = place
        self.split = split
        self._source = open_source(place, split=split)  # type: ignore[arg-type] # the parser checks it
        total = len(self._source)
        count = min(count or total, total)
        self._indices = [i * total // count for i in range(count)]
        self._digest = hashlib.sha256()

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[Sample]:
        self._digest = hashlib.sha256()
        for number, index in enumerate(self._indices, 1):
            started = time.perf_counter()
            sample = self._source[index]
            self._digest.update(sample.pixels.tobytes())
            yield sample
            sys.stderr.write(f"{number}/{len(self)} {sample.key}: {time.perf_counter() - started:.1f} s\n")

    def facts(self) -> dict[str, Any]:
        """What was measured on; the digest is of the pixels of all pictures, one after another, as the last pass read them."""
        return {
            "folder": Path(self.place).name,
            "split": self.split,
            "pictures": len(self),
            "pixels_sha256": self._digest.hexdigest(),
        }


def add_options(parser: argparse.ArgumentParser) -> None:
    """The data set, how much of it, and where the result goes."""
    parser.add_argument("data", help="a folder of pictures, or anything else that a data set can be")
    parser.add_argument("--split", choices=("all", "train", "held_out"), default="all", help="held_out: the twentieth by file name")
    parser.add_argument("--pictures", type=int, metavar="N", help="only N of the pictures, evenly spaced")
    parser.add_argument("-o", "--output", type=Path, help="write the result here too")


def from_options(options: argparse.Namespace) -> Pictures:
    """The pictures that the options of `add_options` name."""
    return Pictures(options.data, split=options.split, count=options.pictures)
