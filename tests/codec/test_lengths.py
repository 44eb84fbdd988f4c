"""The lengths section."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.strategies import QUICK
from vtok.codec.cursor import Cursor
from vtok.codec.lengths import lengths_size, read_lengths, write_lengths
from vtok.errors import FormatError

ALL = tuple(range(1, 257))


def read_back(section, grid, prefixes=ALL):
    cursor = Cursor(section, "the data")
    return read_lengths(cursor, grid[0] * grid[1], prefixes).decode(cursor, grid, prefixes)


@QUICK
@given(st.integers(1, 20), st.integers(1, 20), st.lists(st.integers(1, 256), min_size=1, max_size=60), st.integers(0, 2**32))
def test_lengths_come_back_and_the_size_is_known_before(rows, cols, ladder, seed):
    lengths = np.random.default_rng(seed).choice(ladder, rows * cols)
    section = write_lengths(lengths, (rows, cols))
    assert len(section) == lengths_size(lengths, (rows, cols))
    np.testing.assert_array_equal(read_back(section, (rows, cols)), lengths)


def test_neighbours_that_are_alike_cost_little_over_a_bit_a_tile():
    lengths = np.repeat([4, 16, 64], 100 * 34)[: 100 * 100]
    assert len(write_lengths(lengths, (100, 100))) < 1.05 * 100 * 100 / 8


def test_the_ladder_of_many_lengths_costs_less_than_a_byte_each():
    lengths = np.arange(1, 129)
    steady = np.repeat(1, 128)
    assert len(write_lengths(lengths, (1, 128))) - len(write_lengths(steady, (1, 128))) < 128 / 2


@QUICK
@given(st.binary(max_size=40), st.integers(1, 6), st.integers(1, 6))
def test_any_bytes_are_lengths_or_a_format_error(data, rows, cols):
    try:
        lengths = read_back(data, (rows, cols), (1, 2, 5, 9))
    except FormatError:
        return
    assert set(lengths.tolist()) <= {1, 2, 5, 9}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("03 00 00 03 4c b8", "cut too early: coded lengths takes 3 bytes, 2 are left"),
        ("05 00 00 03 4c b8 40", "number of different lengths is 5, allowed are 1 to 4"),
        ("00 00 00 03 4c b8 40", "number of different lengths is 0"),
        ("03 09 00 03 4c b8 40", "smallest length less one is 9, allowed are 0 to 8"),
        ("03 00 00 03 4c b8 41", "do not fill their bytes"),
        ("03 00 00 04 4c b8 40 00", "do not fill their bytes"),
        ("03 00 00 01 4c", "do not fill their bytes"),
        ("03 00 02 03 4c b8 40", "do not fill their bytes"),
        ("03 00 00 03 4c b0 80", "do not fill their bytes"),
        ("03 01 00 03 4c b8 40", "a length that does not decode"),
        ("03 00 00 03 49 b8 40", "a length beyond the 3 that are listed"),
        ("03 00 00 02 4b f0", "a length beyond the 3 that are listed"),
    ],
)
def test_a_section_against_the_rules_is_refused(section, message):
    with pytest.raises(FormatError, match=message):
        read_back(bytes.fromhex(section), (2, 3), (1, 3, 6, 9))


def test_the_rules_allow_the_section_that_those_were_made_from():
    assert read_back(bytes.fromhex("03 00 00 03 4c b8 40"), (2, 3), (1, 3, 6, 9)).tolist() == [1, 3, 1, 1, 1, 6]
