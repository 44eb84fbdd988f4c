"""Pictures in the array `arr_0` of .npz files, the form in which samples of generators are passed on."""

import bisect
import itertools
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from vtok.data.sources.base import Sample, path_below
from vtok.errors import DataError

_NAME = "arr_0"
_MOST_PACKED = 1100  # bytes that deflate can make of one


class ArraySource:
    """Pictures (N, H, W, 3) uint8 of .npz files, read whole when the first one is asked for.

    Args:
        files: in the order of the data set.
        root: the folder that keys are relative to.
        name: what to call the data set.

    Raises:
        DataError: a file that is no .npz, or has no such array.
    """

    class_names: tuple[str, ...] | None = None
    has_captions = False

    def __init__(self, files: Sequence[Path], *, root: Path, name: str) -> None:
        self.name = name
        self._prefixes = [path_below(root, file).with_suffix("").as_posix() for file in files]
        self._files = list(files)
        self._ends = list(itertools.accumulate(_num_pictures(file) for file in files))
        self._open: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def key(self, index: int) -> str:
        """The file's path below the root without its ending, and the picture's number."""
        number, row = self._locate(index)
        return f"{self._prefixes[number]}/{row:08d}"

    def __getitem__(self, index: int) -> Sample:
        number, row = self._locate(index)
        if self._open is None or self._open[0] != number:
            self._open = number, _read(self._files[number])
        return Sample(self.key(index), self._open[1][row])

    def _locate(self, index: int) -> tuple[int, int]:
        """Number of the file, and the row in it."""
        position = range(len(self))[index]
        number = bisect.bisect_right(self._ends, position)
        return number, position - (self._ends[number - 1] if number else 0)


def _num_pictures(file: Path) -> int:
    """From the header of the array, which must agree with the size of the file."""
    try:
        with zipfile.ZipFile(file) as archive, archive.open(f"{_NAME}.npy") as stream:
            version = npy.read_magic(stream)
            shape, _, dtype = npy.read_array_header_1_0(stream) if version == (1, 0) else npy.read_array_header_2_0(stream)
            member, start = archive.getinfo(f"{_NAME}.npy"), stream.tell()
    except KeyError:
        raise DataError(f"{file}: has no array {_NAME} of pictures (N, H, W, 3) uint8") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: not a whole .npz file ({' '.join(str(error).split())})") from None
    if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3:
        raise DataError(f"{file}: {_NAME} is {shape} {dtype}, pictures are (N, H, W, 3) uint8")
    size = start + math.prod(shape)
    if member.file_size != size or member.file_size > _MOST_PACKED * max(1, member.compress_size):
        raise DataError(f"{file}: {_NAME} says that it is {shape}, {size:,} bytes, but the file does not hold them; was it cut short?")
    return int(shape[0])


def _read(file: Path) -> np.ndarray:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return np.asarray(arrays[_NAME])
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, MemoryError) as error:
        raise DataError(f"{file}: cannot be read ({' '.join(str(error).split()) or type(error).__name__})") from None
