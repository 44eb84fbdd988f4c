"""Plain fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.strategies import QUICK
from vtok.codec.cursor import Cursor, varint
from vtok.errors import FormatError

MOST = 2**35 - 1


@QUICK
@given(st.integers(0, MOST) | st.sampled_from([0, 127, 128, 16383, 16384, MOST]))
def test_a_varint_comes_back_and_takes_seven_bits_a_byte(value):
    data = varint(value)
    assert len(data) == max(1, -(-value.bit_length() // 7))
    cursor = Cursor(data, "the data")
    assert cursor.varint("number", 0, MOST) == value
    assert cursor.left == 0


@pytest.mark.parametrize("value", [-1, 2**35])
def test_what_five_bytes_do_not_hold_is_not_written(value):
    with pytest.raises(ValueError, match="2\\*\\*35"):
        varint(value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x88\x00", "number is not in its shortest form"),
        (b"\x80\x80\x80\x80\x00", "number is not in its shortest form"),
        (b"\xff\xff\xff\xff\xff\x00", "number takes more than 5 bytes"),
        (b"\xff\xff", "cut too early: number takes 1 bytes, 0 are left"),
        (b"\x04", r"number is 4, allowed are 5 to 9 \(near byte 1\)"),
        (b"\x0a", "number is 10, allowed are 5 to 9"),
    ],
)
def test_a_varint_against_the_rules_is_refused(data, message):
    with pytest.raises(FormatError, match=message):
        Cursor(data, "the data").varint("number", 5, 9)


def test_a_varint_of_nothing_but_zero_is_in_its_shortest_form():
    assert Cursor(b"\0", "the data").varint("number", 0, 9) == 0
