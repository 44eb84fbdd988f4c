"""Bit packing against a slow reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.strategies import QUICK
from vtok.codec.packing import pack, unpack


def pack_slowly(ids, widths):
    bits = "".join(f"{value:0{width}b}" for row in ids.tolist() for value, width in zip(row, widths, strict=True))
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


@QUICK
@given(st.lists(st.integers(1, 31), min_size=1, max_size=5), st.integers(0, 50), st.integers(0, 2**32))
def test_packing_equals_the_slow_reference_and_comes_back(widths, num_tokens, seed):
    ids = np.random.default_rng(seed).integers(0, [2**w for w in widths], (num_tokens, len(widths)))
    packed = pack(ids, widths)
    assert packed == pack_slowly(ids, widths)
    assert len(packed) == -(-num_tokens * sum(widths) // 8)
    np.testing.assert_array_equal(unpack(packed, num_tokens, widths), ids)


@pytest.mark.parametrize("num_tokens", [(1 << 15) - 1, 1 << 15, (1 << 15) + 1, (1 << 16) + 5])
def test_parts_of_a_long_payload_join_without_a_seam(num_tokens):
    ids = np.random.default_rng(0).integers(0, [8, 2**11], (num_tokens, 2))
    packed = pack(ids, (3, 11))
    assert packed == pack_slowly(ids, (3, 11))
    np.testing.assert_array_equal(unpack(packed, num_tokens, (3, 11)), ids)


def test_a_prefix_of_the_tokens_reads_the_same():
    ids = np.random.default_rng(0).integers(0, 2**13, (40, 1))
    for num_tokens in range(41):
        np.testing.assert_array_equal(unpack(pack(ids, (13,)), num_tokens, (13,)), ids[:num_tokens])


def test_too_few_bytes_are_refused():
    with pytest.raises(ValueError, match="9 tokens of 13 bits do not fit in 14 bytes"):
        unpack(bytes(14), 9, (13,))
