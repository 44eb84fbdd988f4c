"""The lengths section of the header: how many tokens each tile has (SPEC.md, section 4)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vtok.codec.cursor import Cursor, varint
from vtok.codec.layers import Lengths

_MAX_RICE = 15


@dataclass(frozen=True, eq=False)
class _Numbers:
    """What the section codes: the ladder of lengths, its steps less one, and each tile's place on it as zigzag differences."""

    ladder: Lengths
    steps: Lengths
    changes: Lengths

    @property
    def start(self) -> bytes:
        return varint(len(self.ladder)) + varint(int(self.ladder[0]) - 1)


def write_lengths(lengths: Lengths, grid: tuple[int, int]) -> bytes:
    """The section for lengths (tiles,) of a grid of rows, columns."""
    numbers = _numbers(lengths, grid)
    step_rice, change_rice = _best_rice(numbers.steps), _best_rice(numbers.changes)
    bits = np.concatenate(
        [
            _unary(np.concatenate([numbers.steps >> step_rice, numbers.changes >> change_rice])),
            _remainders(numbers.steps, step_rice),
            _remainders(numbers.changes, change_rice),
        ]
    )
    coded = np.packbits(bits).tobytes()
    return numbers.start + bytes([step_rice << 4 | change_rice]) + varint(len(coded)) + coded


def lengths_size(lengths: Lengths, grid: tuple[int, int]) -> int:
    """Bytes of `write_lengths`, without writing."""
    numbers = _numbers(lengths, grid)
    coded = (min(_rice_sizes(numbers.steps)) + min(_rice_sizes(numbers.changes)) + 7) // 8
    return len(numbers.start) + 1 + len(varint(coded)) + coded


@dataclass(frozen=True)
class LengthsSection:
    """The section as it stands in the file: read past it, check the checksum behind it, then decode."""

    num_lengths: int
    first: int
    rice: int
    coded: bytes

    def decode(self, cursor: Cursor, grid: tuple[int, int], prefix_lengths: tuple[int, ...]) -> Lengths:
        """Lengths (tiles,), each one of `prefix_lengths`.

        Raises:
            FormatError: a section that says something else; the message has the place of the cursor.
        """
        num_tiles = grid[0] * grid[1]
        steps, changes = _read_rice(cursor, self.coded, (self.num_lengths - 1, self.rice >> 4), (num_tiles, self.rice & 15))
        ladder = self.first + np.concatenate([[0], np.cumsum(steps + 1)])
        if not np.isin(ladder, prefix_lengths).all():
            raise cursor.error("damaged: a tile has a length that does not decode")
        places = _undo_changes(changes, grid)
        if places.min() < 0 or places.max() >= self.num_lengths:
            raise cursor.error(f"damaged: a tile has a length beyond the {self.num_lengths} that are listed")
        return ladder[places]


def read_lengths(cursor: Cursor, num_tiles: int, prefix_lengths: tuple[int, ...]) -> LengthsSection:
    """Read past the section.

    Raises:
        FormatError: it is cut, or its sizes are out of range.
    """
    num_lengths = cursor.varint("number of different lengths", 1, min(num_tiles, len(prefix_lengths)))
    first = cursor.varint("smallest length less one", 0, prefix_lengths[-1] - 1) + 1
    rice = cursor.byte("Rice parameters")
    size = cursor.varint("size of the coded lengths", 1, 2**30)
    return LengthsSection(num_lengths, first, rice, cursor.take(size, "coded lengths"))


def _numbers(lengths: Lengths, grid: tuple[int, int]) -> _Numbers:
    ladder, places = np.unique(lengths, return_inverse=True)
    differences = places.reshape(grid).astype(np.int64)
    differences[:, 1:] -= differences[:, :-1].copy()
    differences[1:, 0] -= differences[:-1, 0].copy()
    changes = differences.ravel() << 1 ^ differences.ravel() >> 63  # zigzag: 0, -1, 1, -2, ... to 0, 1, 2, 3, ...
    return _Numbers(ladder, np.diff(ladder) - 1, changes)


def _undo_changes(changes: Lengths, grid: tuple[int, int]) -> Lengths:
    differences = (changes >> 1 ^ -(changes & 1)).reshape(grid)
    differences[:, 0] = np.cumsum(differences[:, 0])
    return np.cumsum(differences, axis=1).ravel()


def _rice_sizes(numbers: Lengths) -> list[int]:
    return [int((numbers >> rice).sum()) + len(numbers) * (1 + rice) for rice in range(_MAX_RICE + 1)]


def _best_rice(numbers: Lengths) -> int:
    sizes = _rice_sizes(numbers)
    return sizes.index(min(sizes))


def _unary(numbers: Lengths) -> npt.NDArray[np.uint8]:
    ends = np.cumsum(numbers + 1)
    bits = np.zeros(int(ends[-1]), np.uint8)
    bits[ends - 1] = 1
    return bits


def _remainders(numbers: Lengths, rice: int) -> npt.NDArray[np.uint8]:
    return (numbers[:, None] >> np.arange(rice)[::-1] & 1).astype(np.uint8).ravel()


def _read_rice(cursor: Cursor, coded: bytes, *planes: tuple[int, int]) -> list[Lengths]:
    """The numbers of each plane (count, Rice parameter): first every quotient in unary, then every remainder."""
    bits = np.unpackbits(np.frombuffer(coded, np.uint8))
    count = sum(num for num, _ in planes)
    ones = np.flatnonzero(bits)[:count]
    end = int(ones[-1]) + 1 if len(ones) else 0
    size = end + sum(num * rice for num, rice in planes)
    if len(ones) < count or len(coded) != (size + 7) // 8 or bits[size:].any():
        raise cursor.error("damaged: the coded lengths do not fill their bytes")
    quotients = np.split(np.diff(ones, prepend=-1) - 1, np.cumsum([num for num, _ in planes])[:-1])
    numbers = []
    for (num, rice), quotient in zip(planes, quotients, strict=True):
        remainders = bits[end : end + num * rice].reshape(num, rice) @ (1 << np.arange(rice)[::-1])
        numbers.append((quotient << rice) + remainders)
        end += num * rice
    return numbers
