"""Fixed-width bit packing of ids: each in its own number of bits, most significant first, nothing between them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_ROWS = 1 << 15  # packed at a time, which bounds the memory for single bits; a multiple of 8, so that parts end on whole bytes


def pack(ids: npt.NDArray[np.int64], widths: Sequence[int]) -> bytes:
    """Pack ids (tokens, K) row by row, column k in `widths[k]` bits; zero bits fill the last byte."""
    parts = (ids[start : start + _ROWS] for start in range(0, len(ids), _ROWS))
    return b"".join(np.packbits(_to_bits(part, widths)).tobytes() for part in parts)


def unpack(data: bytes, num_tokens: int, widths: Sequence[int]) -> npt.NDArray[np.int64]:
    """The inverse of `pack`: ids (num_tokens, K) from the first bits of `data`.

    Raises:
        ValueError: fewer bits than that.
    """
    total = sum(widths)
    if 8 * len(data) < num_tokens * total:
        raise ValueError(f"{num_tokens} tokens of {total} bits do not fit in {len(data)} bytes")
    packed = np.frombuffer(data, np.uint8)
    ids = np.empty((num_tokens, len(widths)), np.int64)
    for start in range(0, num_tokens, _ROWS):
        part = ids[start : start + _ROWS]
        first = start * total // 8
        bits = np.unpackbits(packed[first : first + -(-len(part) * total // 8)], count=len(part) * total)
        _from_bits(bits.reshape(-1, total), widths, out=part)
    return ids


def _to_bits(ids: npt.NDArray[np.int64], widths: Sequence[int]) -> npt.NDArray[np.uint8]:
    bits = np.empty((len(ids), sum(widths)), np.uint8)
    end = 0
    for column, width in enumerate(widths):
        start, end = end, end + width
        bits[:, start:end] = ids[:, column, None] >> np.arange(width)[::-1] & 1
    return bits


def _from_bits(bits: npt.NDArray[np.uint8], widths: Sequence[int], *, out: npt.NDArray[np.int64]) -> None:
    end = 0
    for column, width in enumerate(widths):
        start, end = end, end + width
        out[:, column] = bits[:, start:end] @ (1 << np.arange(width)[::-1])
