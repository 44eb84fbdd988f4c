"""Fewer tokens in a file, without the model that made it."""

from bisect import bisect_right
from dataclasses import replace

import numpy as np

from vtok.codec.container import TokenFile, file_size
from vtok.codec.layers import trim
from vtok.errors import BudgetError, LengthError


def truncate(file: TokenFile, *, tokens: int | None = None, num_bytes: int | None = None) -> TokenFile:
    """Shorten every string to a common cap: `tokens`, or the largest that fits in `num_bytes`.

    Strings that are shorter stay as they are; so does a file that is small enough.

    Args:
        file: whole or cut.
        tokens: the cap, a length that decodes and that some tile reaches.
        num_bytes: bytes of the whole file, header included.

    Raises:
        LengthError: `tokens` is none that decodes, or more than the longest string has.
        BudgetError: `num_bytes` is too few for one token in each tile.
        ValueError: both given, or neither.
    """
    if (tokens is None) == (num_bytes is None):
        raise ValueError("give either tokens or num_bytes")
    cap = _check_cap(file, tokens) if tokens is not None else _largest_cap(file, num_bytes or 0)
    lengths = np.minimum(file.lengths, cap)
    return replace(file, lengths=lengths, ids=trim(file.ids, lengths), cut=False)


def _check_cap(file: TokenFile, tokens: int) -> int:
    longest = int(file.lengths.max())
    if tokens > longest:
        raise LengthError(f"{tokens} tokens a tile asked, the file has {longest}")
    return file.spec.check_length(tokens)


def _largest_cap(file: TokenFile, num_bytes: int) -> int:
    caps = [n for n in file.spec.prefix_lengths if n <= file.lengths.max()]
    fitting = bisect_right(caps, num_bytes, key=lambda cap: _size(file, cap))  # a lower cap never makes a larger file
    if not fitting:
        tiles = f"{len(file.lengths)} tile{'s' * (len(file.lengths) > 1)} of {caps[0]} token{'s' * (caps[0] > 1)}"
        smallest = f"the smallest file of this picture takes {_size(file, caps[0])} bytes ({tiles})"
        raise BudgetError(f"{num_bytes} bytes are too few: {smallest}")
    return caps[fitting - 1]


def _size(file: TokenFile, cap: int) -> int:
    return file_size(file.spec, file.size, file.whole, np.minimum(file.lengths, cap), file.caption, file.overlap)
