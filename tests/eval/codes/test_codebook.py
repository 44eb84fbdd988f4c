"""Codebook use by position, against counts made one by one."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vtok.errors import UnsupportedError
from vtok.eval.codes import codebook
from vtok.eval.codes.codebook import CodebookStatistics

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
            assert int(found.used[position, k]) == len(counts)
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
    assert [[statistics.counts(k, [position]).total for position in range(4)] for k in range(2)] == [[3, 2, 1, 1]] * 2
    assert statistics.counts(0, [3]).ids.tolist() == [int(ids[1, 3, 0])]
    assert statistics.compute().strings.tolist() == [3, 2, 1, 1]


def same_counts(first, second):
    return all(
        torch.equal(getattr(first.counts(k, [position]), name), getattr(second.counts(k, [position]), name))
        for k in range(len(SIZES))
        for position in range(4)
        for name in ("ids", "counts")
    )


@pytest.mark.parametrize("waiting", [0, 100, codebook.MAX_WAITING])
@pytest.mark.parametrize("parts", [1, 7, 40])
def test_parts_and_merging_give_what_all_at_once_gives(parts, waiting, monkeypatch):
    ids = random_ids(40)
    whole, first, second = (CodebookStatistics(SIZES, 4) for _ in range(3))
    whole.update(ids)
    monkeypatch.setattr(codebook, "MAX_WAITING", waiting)
    for k, part in enumerate(ids.split(parts)):
        (first, second)[k % 2].update(part)
    first.merge(second)
    assert same_counts(first, whole)


def test_merging_leaves_the_other_as_it_was():
    first, second, alone = (CodebookStatistics(SIZES, 4) for _ in range(3))
    first.update(random_ids(5, seed=1))
    for statistics in (second, alone):
        statistics.update(random_ids(5, seed=2))
    first.merge(second)
    first.update(random_ids(5, seed=3))
    assert same_counts(second, alone)


def test_counts_of_several_positions_are_one_sum():
    ids = random_ids(30)
    statistics = CodebookStatistics(SIZES, 4)
    statistics.update(ids)
    for positions in ([0], [1, 3], None):
        chosen = ids[:, :, 0] if positions is None else ids[:, positions, 0]
        found = statistics.counts(0, positions)
        assert dict(zip(found.ids.tolist(), found.counts.tolist(), strict=True)) == Counter(chosen.flatten().tolist())


def test_dead_codes_are_used_at_no_position():
    statistics = CodebookStatistics((5, 4), 2)
    statistics.update(torch.tensor([[[0, 3], [2, 3]], [[2, 3], [4, 3]]]))
    assert statistics.compute().num_dead == (2, 3)


def test_products_beyond_32_bits_are_counted_by_what_occurs():
    sizes = (2**62, 2**40)
    statistics = CodebookStatistics(sizes, 512)
    ids = torch.tensor([2**62 - 1, 2**40 - 1]).repeat(3, 512, 1)
    ids[0] = 7
    statistics.update(ids)
    use = statistics.compute()
    assert use.used.unique().tolist() == [2]
    assert use.num_dead == tuple(size - 2 for size in sizes)
    assert statistics.counts(0).ids.tolist() == [7, 2**62 - 1]
    assert float(use.entropy_bits[511, 0]) == pytest.approx(math.log2(3) - 2 / 3)


def test_long_strings_of_large_tables_are_counted():
    statistics = CodebookStatistics((4096,), 128)
    ids = torch.randint(4096, (300, 128, 1), generator=torch.Generator().manual_seed(0))
    statistics.update(ids)
    assert float(statistics.compute().usage[127, 0]) == len(ids[:, 127].unique()) / 4096


def test_more_different_codes_than_memory_should_hold_are_refused(monkeypatch):
    monkeypatch.setattr(codebook, "MAX_DIFFERENT", 2**5)
    statistics = CodebookStatistics((2**40,), 4)
    statistics.update(torch.arange(8)[:, None, None].repeat(1, 4, 1))
    assert statistics.compute().num_strings == 8
    statistics.update(torch.arange(9)[:, None, None].repeat(1, 4, 1))
    with pytest.raises(UnsupportedError, match=r"more than 2\*\*5 different codes at their positions; count fewer strings"):
        statistics.compute()


def test_nothing_counted_has_no_figures():
    use = CodebookStatistics((6, 3), 2).compute()
    assert (use.num_strings, use.num_dead) == (0, (6, 3))
    assert use.usage.tolist() == use.entropy_bits.tolist() == [[0, 0]] * 2
    least, most = use.saved_bits
    assert least[0].tolist() == [pytest.approx(3 - math.log2(6)), pytest.approx(2 - math.log2(3))]
    assert most[0].tolist() == [3, 2]


def test_even_use_saves_nothing_but_what_whole_bits_waste():
    statistics = CodebookStatistics((8, 5), 1)
    statistics.update(torch.stack([torch.arange(8000) % 8, torch.arange(8000) % 5], 1)[:, None])
    use = statistics.compute()
    for saved in use.saved_bits:
        assert saved[0].tolist() == [pytest.approx(0, abs=1e-9), pytest.approx(3 - math.log2(5))]
    assert use.saved_bits_of_string == (pytest.approx(3 - math.log2(5)), pytest.approx(3 - math.log2(5)))


@pytest.mark.parametrize("num_strings", [10, 50, 500])
@pytest.mark.parametrize("skew", [0.0, 1.5])
def test_what_few_strings_hide_of_the_entropy_is_within_its_bound(num_strings, skew):
    weights = torch.arange(1, 65, dtype=torch.float64) ** -skew
    shares = weights / weights.sum()
    entropy = float(torch.special.entr(shares).sum()) / math.log(2)
    statistics = CodebookStatistics((64,), 400)  # as many draws as positions
    generator = torch.Generator().manual_seed(0)
    statistics.update(torch.multinomial(shares, 400 * num_strings, replacement=True, generator=generator).view(num_strings, 400, 1))
    use = statistics.compute()
    measured = float(use.entropy_bits.mean())
    assert measured < entropy < measured + float(use.entropy_shortfall[0, 0])
    least, most = use.saved_bits_of_string
    assert least <= 400 * (6 - entropy) <= most
    assert least > 0 or skew == 0 or num_strings < 500


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
