"""Numbers of tokens on the command line."""

from dataclasses import replace

import pytest

from vtok.cli.lengths import parse_lengths
from vtok.errors import LengthError
from vtok.tokenizers.spec import TokenSpec

SPEC = TokenSpec((16,), 48, tuple(range(1, 49)), (16, 16), (16, 16))


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        (None, [1, 2, 4, 8, 16, 32, 48]),
        ("16,1,all", [1, 16, 48]),
        ("1,2,4,..,all", [1, 2, 4, 8, 16, 32, 48]),
        ("4,..,16", [4, 8, 16]),
        ("3,..", [3, 4, 8, 16, 32, 48]),
        ("..,8", [1, 2, 4, 8]),
    ],
)
def test_lengths_are_read(text, lengths):
    assert parse_lengths(text, SPEC) == lengths


def test_a_string_without_prefixes_has_one_length():
    assert parse_lengths(None, replace(SPEC, prefix_lengths=(48,))) == [48]


@pytest.mark.parametrize("text", ["", "0", "49", "1,x", "-1", "1;2", "1,,2"])
def test_what_is_no_length_is_refused(text):
    with pytest.raises(LengthError):
        parse_lengths(text, SPEC)
