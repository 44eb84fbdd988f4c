"""Rate control: which tile gets how many tokens."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.strategies import QUICK
from vtok.codec import file_size
from vtok.codec.rate import allocate, lengths_for_bytes
from vtok.codec.request import Rate
from vtok.errors import BudgetError
from vtok.tokenizers.spec import TokenSpec

NESTED = TokenSpec((4096,), 32, tuple(range(1, 33)), (64, 64), (64, 64))
SCALES = TokenSpec((1000, 512), 30, (1, 5, 14, 30), (64, 64), (64, 64))


def curves(num_tiles, spec, seed):
    """Falling errors of busy and of smooth tiles, float32 as a tokenizer gives them; not all convex."""
    rng = np.random.default_rng(seed)
    energy, decay = rng.lognormal(0, 1.5, (num_tiles, 1)), rng.uniform(0.2, 2, (num_tiles, 1))
    tokens = np.array([0, *spec.prefix_lengths])
    noise = rng.uniform(0.9, 1.1, (num_tiles, len(tokens)))
    return (energy * (1 + tokens) ** -decay * noise).astype(np.float32)


def total(errors, spec, lengths):
    return float(errors[np.arange(len(lengths)), 1 + np.searchsorted(spec.prefix_lengths, lengths)].sum(dtype=np.float64))


def size_of_grid(rows, cols, spec):
    return partial(file_size, spec, (64 * rows, 64 * cols), False)


@QUICK
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([NESTED, SCALES]), st.integers(0, 2**32), st.floats(0, 1.1))
def test_a_budget_is_kept_and_no_equal_length_is_better(rows, cols, spec, seed, part):
    errors, size_of = curves(rows * cols, spec, seed), size_of_grid(rows, cols, spec)
    uniform = {n: np.full(rows * cols, n) for n in spec.prefix_lengths}
    smallest, largest = size_of(uniform[1]), size_of(uniform[spec.max_tokens])
    budget = int(smallest + part * (largest - smallest))
    lengths = lengths_for_bytes(errors, spec, size_of, budget)
    assert size_of(lengths) <= budget
    assert lengths.dtype == np.int64
    assert set(lengths.tolist()) <= set(spec.prefix_lengths)
    fitting = [total(errors, spec, equal) for equal in uniform.values() if size_of(equal) <= budget]
    assert total(errors, spec, lengths) <= min(fitting) * (1 + 1e-6)


@pytest.mark.parametrize("mean", [1.5, 3, 8, 20])
def test_most_of_a_budget_is_used_and_the_error_falls_well_below_equal_lengths(mean):
    unused, gains = [], []
    for seed in range(20):
        errors, size_of = curves(96, NESTED, seed), size_of_grid(8, 12, NESTED)
        budget = 22 + int(96 * mean * 1.5)
        lengths = lengths_for_bytes(errors, NESTED, size_of, budget)
        unused.append(budget - size_of(lengths))
        gains.append(total(errors, NESTED, np.full(96, int(mean))) / total(errors, NESTED, lengths))
    assert np.mean(unused) < 3
    assert max(unused) < 12
    assert np.mean(gains) > 1.2


def test_tiles_that_are_all_alike_use_a_budget_between_two_lengths():
    errors = np.tile(100 / np.arange(1.0, 34) ** 2, (96, 1))
    size_of = size_of_grid(8, 12, NESTED)
    budget = (size_of(np.full(96, 6)) + size_of(np.full(96, 7))) // 2
    lengths = lengths_for_bytes(errors, NESTED, size_of, budget)
    assert sorted(set(lengths.tolist())) == [6, 7]
    assert budget - 4 <= size_of(lengths) <= budget


@QUICK
@given(st.integers(1, 40), st.integers(0, 2**32), st.floats(0, 100))
def test_allocation_is_the_cheapest_length_of_each_tile(num_tiles, seed, multiplier):
    errors = curves(num_tiles, SCALES, seed)
    for row, length in zip(errors.tolist(), allocate(errors, SCALES.prefix_lengths, multiplier), strict=True):
        costs = {n: error + multiplier * n for n, error in zip(SCALES.prefix_lengths, row[1:], strict=True)}
        assert costs[length] == pytest.approx(min(costs.values()))


def test_of_equal_costs_the_shorter_length_wins():
    assert allocate(np.array([[9.0, 4.0, 3.0, 2.0]]), (1, 2, 3), 1.0).tolist() == [1]
    assert allocate(np.array([[9.0, 4.0, 4.0, 4.0]]), (1, 2, 3), 0.0).tolist() == [1]


def test_a_tile_always_gets_its_first_token():
    assert allocate(np.array([[0.0, 4.0, 3.0]]), (2, 5), 1e9).tolist() == [2]


def test_flat_tiles_get_the_fewest_tokens():
    errors = curves(12, NESTED, 0)
    errors[3] = errors[7] = 0
    lengths = lengths_for_bytes(errors, NESTED, size_of_grid(3, 4, NESTED), 120)
    assert lengths[[3, 7]].tolist() == [1, 1]
    assert lengths.max() > 1


def test_errors_that_do_not_fall_cost_no_tokens():
    errors = np.repeat([[5.0, 1.0]], 6, 0)[:, [0] + [1] * 32]
    assert lengths_for_bytes(errors, NESTED, size_of_grid(2, 3, NESTED), 10_000).tolist() == [1] * 6


def test_a_large_budget_gives_the_least_error():
    errors, size_of = curves(12, NESTED, 0), size_of_grid(3, 4, NESTED)
    lengths = lengths_for_bytes(errors, NESTED, size_of, 10_000)
    np.testing.assert_array_equal(lengths, 1 + errors[:, 1:].argmin(1))


def test_too_few_bytes_say_how_many_are_needed():
    errors, size_of = curves(12, NESTED, 0), size_of_grid(3, 4, NESTED)
    with pytest.raises(BudgetError, match=r"40 bytes are too few: 12 tiles of 1 token take 41.*--whole"):
        lengths_for_bytes(errors, NESTED, size_of, 40)
    assert lengths_for_bytes(errors, NESTED, size_of, 41).tolist() == [1] * 12


def test_one_tile_is_not_told_to_become_one():
    with pytest.raises(BudgetError) as error:
        lengths_for_bytes(curves(1, NESTED, 0), NESTED, size_of_grid(1, 1, NESTED), 5)
    assert "--whole" not in str(error.value)


@pytest.mark.parametrize("wish", [{"tokens": 0}, {"num_bytes": -1}, {"bpp": 0.0}, {"bpp": float("nan")}, {"psnr": float("inf")}])
def test_a_wish_out_of_range_is_refused(wish):
    with pytest.raises(ValueError, match="must be positive and finite"):
        Rate(**wish)


def test_two_wishes_are_refused():
    with pytest.raises(ValueError, match="one of tokens, bytes, bpp and psnr"):
        Rate(tokens=3, psnr=30.0)


def test_bits_a_pixel_become_whole_bytes():
    assert Rate(bpp=0.1).budget((512, 768)) == 4915
    assert Rate(num_bytes=77).budget((512, 768)) == 77
    assert Rate(tokens=3).budget((512, 768)) is None
