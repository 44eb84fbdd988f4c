"""Codebook use by position, against counts made one by one."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vtok.errors import UnsupportedError
from vtok.eval.codebook import CodebookStatistics

SIZES = (5, 3)


def random_ids(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(size, (count, 4), generator=generator) for size in SIZES], 2)


@given(st.integers(0, 40), st.integers(0, 1000))
def test_usage_and_entropy_are_those_of_plain_counts(count, seed):
    ids = random_ids(count, seed)
    statistics = CodebookStatistics(SIZES, 4)
    statistics.update(ids)
    found = statistics.compute()
    for position in range(4):
        for k, size in enumerate(SIZES):
            counts = Counter(ids[:, position, k].tolist())
            shares = [n / count for n in counts.values()]
            assert float(found.usage[position, k]) == pytest.approx(len(counts) / size)
            assert float(found.entropy_bits[position, k]) == pytest.approx(-sum(p * math.log2(p) for p in shares), abs=1e-9)


def test_even_use_has_all_the_bits():
    statistics = CodebookStatistics((8,), 2)
    statistics.update(torch.arange(8)[:, None, None].expand(8, 2, 1))
    assert statistics.compute().entropy_bits.tolist() == [[pytest.approx(3)], [pytest.approx(3)]]
    assert statistics.compute().usage.tolist() == [[1], [1]]


def test_positions_beyond_a_length_do_not_count():
    ids = random_ids(3)
    statistics = CodebookStatistics(SIZES, 4)
    statistics.update(ids, torch.tensor([1, 4, 2]))
    assert [counts.sum(1).tolist() for counts in statistics.counts] == [[3, 2, 1, 1]] * 2
    assert int(statistics.counts[0][3].argmax()) == int(ids[1, 3, 0])


@pytest.mark.parametrize("parts", [1, 7, 40])
def test_parts_and_merging_give_what_all_at_once_gives(parts):
    ids = random_ids(40)
    whole, first, second = (CodebookStatistics(SIZES, 4) for _ in range(3))
    whole.update(ids)
    for k, part in enumerate(ids.split(parts)):
        (first, second)[k % 2].update(part)
    first.merge(second)
    assert all(torch.equal(a, b) for a, b in zip(first.counts, whole.counts, strict=True))


def test_long_strings_of_large_tables_are_counted():
    statistics = CodebookStatistics((4096,), 128)
    ids = torch.randint(4096, (300, 128, 1), generator=torch.Generator().manual_seed(0))
    statistics.update(ids)
    assert float(statistics.compute().usage[127, 0]) == len(ids[:, 127].unique()) / 4096


def test_tables_too_large_to_count_are_refused():
    with pytest.raises(UnsupportedError, match=r"2 positions of 134217728 \+ 2 codes are too many to count one by one, at most 2\*\*28"):
        CodebookStatistics((2**27, 2), 2)


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        (torch.zeros(2, 4, dtype=torch.int64), r"\(B, 4, 2\), got \(2, 4\)"),
        (torch.zeros(2, 3, 2, dtype=torch.int64), r"got \(2, 3, 2\)"),
        (torch.full((2, 4, 2), 3), "0 to 2, got 3 to 3"),
        (torch.full((2, 4, 2), -1), "0 to 4, got -1 to -1"),
    ],
)
def test_ids_that_cannot_be_counted_are_refused(ids, found):
    with pytest.raises(ValueError, match=found):
        CodebookStatistics(SIZES, 4).update(ids)


def test_statistics_of_other_sizes_are_not_merged():
    with pytest.raises(ValueError, match="other codebook sizes"):
        CodebookStatistics(SIZES, 4).merge(CodebookStatistics((5, 4), 4))
