"""Batches of token strings: prefixes, joining, picking, checks."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vtok.errors import LengthError
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.spec import TokenSpec

NESTED = TokenSpec((16, 4), 8, tuple(range(1, 9)), (16, 16), (16, 16))
SCALES = TokenSpec((16, 4), 8, (1, 5, 8), (16, 16), (16, 16), scales=((1, 1), (2, 2), (1, 3)))


def strings(lengths: list[int], spec: TokenSpec = NESTED, positions: int | None = None) -> Tokens:
    """Strings whose id at (row, position, codebook) says where it is; 0 beyond the length."""
    positions = max(lengths, default=0) if positions is None else positions
    ids = torch.arange(1, len(lengths) * positions * 2 + 1).view(len(lengths), positions, 2)
    kept = torch.arange(positions) < torch.tensor(lengths, dtype=torch.int64)[:, None]
    return Tokens(ids * kept[..., None], torch.tensor(lengths, dtype=torch.int64), spec)


def lists(tokens: Tokens) -> list[list[list[int]]]:
    """The ids of each string, without what is beyond its length."""
    return [row[:n].tolist() for row, n in zip(tokens.ids, tokens.lengths.tolist(), strict=True)]


LENGTHS = st.lists(st.integers(1, 8), min_size=1, max_size=5)


@given(lengths=LENGTHS, data=st.data())
@settings(deadline=None)
def test_a_prefix_keeps_the_first_tokens_of_each_string(lengths: list[int], data: st.DataObject) -> None:
    tokens = strings(lengths)
    n = data.draw(st.integers(1, max(lengths)))
    cut = tokens.prefix(n)
    assert cut.lengths.tolist() == [min(length, n) for length in lengths]
    assert lists(cut) == [row[:n] for row in lists(tokens)]
    assert cut.spec == tokens.spec


@given(lengths=LENGTHS, data=st.data())
@settings(deadline=None)
def test_a_prefix_of_one_length_each(lengths: list[int], data: st.DataObject) -> None:
    tokens = strings(lengths)
    wanted = [data.draw(st.integers(1, length)) for length in lengths]
    cut = tokens.prefix(torch.tensor(wanted))
    assert cut.lengths.tolist() == wanted
    assert lists(cut) == [row[:n] for row, n in zip(lists(tokens), wanted, strict=True)]


@given(lengths=LENGTHS, data=st.data())
@settings(deadline=None)
def test_what_was_cut_is_zero_and_no_wider_than_the_longest(lengths: list[int], data: st.DataObject) -> None:
    cut = strings(lengths).prefix(data.draw(st.integers(1, max(lengths))))
    assert cut.ids.shape[1] == int(cut.lengths.max())
    for row, n in zip(cut.ids, cut.lengths.tolist(), strict=True):
        assert not row[n:].any()


@given(lengths=LENGTHS, data=st.data())
@settings(deadline=None)
def test_a_prefix_of_a_prefix_is_the_shorter_one(lengths: list[int], data: st.DataObject) -> None:
    tokens = strings(lengths)
    longer = data.draw(st.integers(1, max(lengths)))
    shorter = data.draw(st.integers(1, longer))
    assert lists(tokens.prefix(longer).prefix(shorter)) == lists(tokens.prefix(shorter))


def test_the_strings_given_are_left_as_they_are() -> None:
    tokens = strings([8, 3])
    before = tokens.ids.clone()
    tokens.prefix(2).ids.zero_()
    assert torch.equal(tokens.ids, before)


@pytest.mark.parametrize("n", [0, -1, 9])
def test_a_prefix_that_is_none_is_refused(n: int) -> None:
    with pytest.raises(LengthError, match=str(n)):
        strings([8, 3]).prefix(n)


def test_a_prefix_longer_than_the_longest_names_both() -> None:
    with pytest.raises(LengthError, match="prefix of 6 asked, the longest string has 5 tokens"):
        strings([5, 3]).prefix(6)


@pytest.mark.parametrize("wanted", [[5, 3], [4], [4, 2, 1], [0, 2], [-1, 2], [9, 2]])
def test_lengths_that_do_not_fit_the_strings_are_refused(wanted: list[int]) -> None:
    with pytest.raises(LengthError):
        strings([4, 2]).prefix(torch.tensor(wanted))


@pytest.mark.parametrize(("n", "decodes"), [(1, True), (2, False), (5, True), (7, False), (8, True)])
def test_only_lengths_that_decode_are_prefixes(n: int, decodes: bool) -> None:
    tokens = strings([8, 5], SCALES)
    if decodes:
        assert tokens.prefix(n).lengths.tolist() == [min(8, n), min(5, n)]
        assert tokens.prefix(torch.tensor([n, 1])).lengths.tolist() == [n, 1]
    else:
        with pytest.raises(LengthError, match=f"{n} tokens do not decode here; lengths that do: 1, 5, 8"):
            tokens.prefix(n)
        with pytest.raises(LengthError, match=f"{n} tokens do not decode here"):
            tokens.prefix(torch.tensor([n, 1]))


@given(lengths=st.lists(LENGTHS, min_size=1, max_size=4))
@settings(deadline=None)
def test_joined_batches_hold_the_strings_of_all(lengths: list[list[int]]) -> None:
    parts = [strings(some) for some in lengths]
    joined = Tokens.cat(parts)
    assert lists(joined) == [row for part in parts for row in lists(part)]
    assert len(joined) == sum(len(part) for part in parts)
    for row, n in zip(joined.ids, joined.lengths.tolist(), strict=True):
        assert not row[n:].any()


def test_nothing_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="at least one batch"):
        Tokens.cat([])


def test_batches_of_two_specs_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="all of one spec"):
        Tokens.cat([strings([8]), strings([8], SCALES)])


@given(lengths=LENGTHS, data=st.data())
@settings(deadline=None)
def test_one_string_is_picked_as_a_batch_of_one(lengths: list[int], data: st.DataObject) -> None:
    tokens = strings(lengths)
    index = data.draw(st.integers(-len(lengths), len(lengths) - 1))
    assert lists(tokens[index]) == [lists(tokens)[index]]


def test_strings_are_picked_by_slice_index_and_mask() -> None:
    tokens = strings([8, 3, 5])
    rows = lists(tokens)
    assert lists(tokens[1:]) == rows[1:]
    assert lists(tokens[torch.tensor([2, 0])]) == [rows[2], rows[0]]
    assert lists(tokens[torch.tensor([True, False, True])]) == [rows[0], rows[2]]


@pytest.mark.parametrize("index", [3, -4, 100])
def test_a_string_that_is_not_there_is_an_index_error(index: int) -> None:
    """Without it a loop over the strings would never end."""
    with pytest.raises(IndexError):
        strings([8, 3, 5])[index]


def test_batches_cut_apart_and_joined_are_the_same() -> None:
    tokens = strings([2, 8, 5])
    again = Tokens.cat([tokens[i] for i in range(3)])
    assert torch.equal(again.ids, tokens.ids)
    assert torch.equal(again.lengths, tokens.lengths)


def test_flat_puts_the_codebooks_of_a_position_side_by_side() -> None:
    tokens = strings([2, 1])
    assert tokens.flat().tolist() == [[1, 2, 3, 4], [5, 6, 0, 0]]


def test_full_gives_every_string_the_length_of_the_ids() -> None:
    tokens = Tokens.full(torch.zeros(3, 5, 2, dtype=torch.int64), NESTED)
    assert tokens.lengths.tolist() == [5, 5, 5]


def test_an_empty_batch_joins_with_others() -> None:
    empty = strings([8, 3])[:0]
    assert len(empty) == 0
    assert lists(Tokens.cat([empty, strings([2])])) == lists(strings([2]))


def test_an_empty_batch_has_an_empty_prefix() -> None:
    assert len(strings([8, 3])[:0].prefix(torch.zeros(0, dtype=torch.int64))) == 0


IDS = torch.zeros(2, 8, 2, dtype=torch.int64)
FULL = torch.tensor([8, 8])


@pytest.mark.parametrize(
    ("ids", "lengths", "message"),
    [
        (IDS[0], FULL, r"ids must be \(batch, position, 2\) int64, got \(8, 2\)"),
        (IDS[..., :1], FULL, r"got \(2, 8, 1\)"),
        (IDS.int(), FULL, r"got \(2, 8, 2\) torch\.int32"),
        (IDS.float(), FULL, r"torch\.float32"),
        (IDS, FULL[:1], r"lengths must be \(2,\) int64, got \(1,\)"),
        (IDS, FULL[:, None], r"got \(2, 1\)"),
        (IDS, FULL.int(), r"torch\.int32"),
        (IDS, torch.tensor([8, 0]), "lengths must be 1 to 8, got 0 to 8"),
        (IDS, torch.tensor([9, 8]), "lengths must be 1 to 8, got 8 to 9"),
        (IDS, torch.tensor([-1, 8]), "got -1 to 8"),
        (IDS[:, :0], torch.tensor([0, 0]), "lengths must be 1 to"),
    ],
)  # fmt: skip
def test_shapes_and_types_that_contradict_each_other_are_refused(ids: Tensor, lengths: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tokens(ids, lengths, NESTED)


def test_a_string_longer_than_the_spec_is_refused() -> None:
    with pytest.raises(ValueError, match="8"):
        strings([9])


@pytest.mark.parametrize("change", [{"ids": IDS}, {"lengths": FULL}])
def test_strings_cannot_be_changed_in_place(change: dict[str, Any]) -> None:
    tokens = strings([2])
    for name, value in change.items():
        with pytest.raises(AttributeError):
            setattr(tokens, name, value)


def test_a_prefix_takes_any_whole_number_and_nothing_else() -> None:
    tokens = strings([3, 5])
    whole: Any = np.int64(2)
    assert lists(tokens.prefix(whole)) == lists(tokens.prefix(2))
    half: Any = 2.5
    with pytest.raises(TypeError):
        tokens.prefix(half)
