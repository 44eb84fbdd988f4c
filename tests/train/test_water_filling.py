"""Reverse water-filling, and components dealt to tokens."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vtok.train.closed_form.water_filling import deal, rates

LOGS = st.lists(st.floats(-20, 20), min_size=1, max_size=40)
BITS = st.floats(0.01, 300)


def variances(logs: list[float]) -> Tensor:
    return torch.tensor(logs, dtype=torch.float64).exp2()


def searched(variances: Tensor, bits: float) -> Tensor:
    """Rates by bisection of the water level."""
    logs = variances.log2()
    low, high = float(logs.min()) - 2 * bits - 1, float(logs.max())
    for _ in range(200):
        middle = (low + high) / 2
        spent = float((0.5 * (logs - middle)).clamp(min=0).sum())
        low, high = (middle, high) if spent > bits else (low, middle)
    return (0.5 * (logs - high)).clamp(min=0)


@given(logs=LOGS, bits=BITS)
@settings(deadline=None)
def test_rates_are_those_of_a_searched_level(logs: list[float], bits: float) -> None:
    torch.testing.assert_close(rates(variances(logs), bits), searched(variances(logs), bits), rtol=1e-6, atol=1e-6)


@given(logs=LOGS, bits=BITS)
@settings(deadline=None)
def test_rates_add_up_to_the_bits(logs: list[float], bits: float) -> None:
    found = rates(variances(logs), bits)
    assert float(found.sum()) == pytest.approx(bits, rel=1e-9)
    assert float(found.min()) >= 0


@given(logs=LOGS, bits=BITS)
@settings(deadline=None)
def test_what_is_coded_is_left_with_one_variance_and_the_rest_has_less(logs: list[float], bits: float) -> None:
    found = rates(variances(logs), bits)
    left = variances(logs).log2() - 2 * found
    coded = found > 1e-9
    level = float(left[coded].mean())
    torch.testing.assert_close(left[coded], torch.full_like(left[coded], level), rtol=0, atol=1e-6)
    assert not len(left[~coded]) or float(left[~coded].max()) <= level + 1e-6


@pytest.mark.parametrize("count", [1, 3, 10])
def test_equal_variances_share_equally(count: int) -> None:
    torch.testing.assert_close(rates(torch.full((count,), 2.5), 12.0), torch.full((count,), 12.0 / count, dtype=torch.float64))


def test_two_variances_in_closed_form() -> None:
    torch.testing.assert_close(rates(torch.tensor([16.0, 1.0]), 3.0), torch.tensor([2.5, 0.5], dtype=torch.float64))
    torch.testing.assert_close(rates(torch.tensor([1.0, 16.0]), 1.5), torch.tensor([0.0, 1.5], dtype=torch.float64))
    torch.testing.assert_close(rates(torch.tensor([16.0, 1.0]), 2.0), torch.tensor([2.0, 0.0], dtype=torch.float64))


@given(logs=LOGS, bits=BITS, scale=st.floats(0.01, 100))
@settings(deadline=None)
def test_a_common_factor_changes_nothing(logs: list[float], bits: float, scale: float) -> None:
    torch.testing.assert_close(rates(variances(logs) * scale, bits), rates(variances(logs), bits), rtol=1e-6, atol=1e-6)


@st.composite
def deals(draw: st.DrawFn) -> tuple[Tensor, int, float]:
    logs = draw(LOGS)
    return variances(logs), draw(st.integers(1, len(logs))), draw(st.floats(0.05, 20))


@given(dealt=deals())
@settings(deadline=None)
def test_every_token_has_a_component_and_no_component_two_tokens(dealt: tuple[Tensor, int, float]) -> None:
    parts = deal(*dealt)
    assert len(parts) == dealt[1]
    assert min(len(part) for part in parts) >= 1
    together = torch.cat(parts)
    assert len(together.unique()) == len(together)
    assert int(together.max()) < len(dealt[0])


@given(dealt=deals())
@settings(deadline=None)
def test_components_are_dealt_in_order_of_variance(dealt: tuple[Tensor, int, float]) -> None:
    together = torch.cat(deal(*dealt))
    assert dealt[0][together].tolist() == dealt[0].sort(descending=True).values[: len(together)].tolist()


@given(dealt=deals())
@settings(deadline=None)
def test_all_that_have_a_rate_are_dealt(dealt: tuple[Tensor, int, float]) -> None:
    of, num_tokens, bits = dealt
    coded = int((rates(of, num_tokens * bits) > 0).sum())
    assert len(torch.cat(deal(*dealt))) == max(coded, num_tokens)


def test_equal_variances_are_dealt_equally() -> None:
    assert [part.tolist() for part in deal(torch.ones(6), 3, 4.0)] == [[0, 1], [2, 3], [4, 5]]


def test_shares_of_the_rate_differ_by_a_component_at_most() -> None:
    of = torch.logspace(2, -2, 400, dtype=torch.float64)
    rate = rates(of, 16 * 12.0)
    shares = [float(rate[part].sum()) for part in deal(of, 16, 12.0)]
    assert max(abs(share - 12.0) for share in shares) <= float(rate.max())


def test_later_tokens_code_more_components() -> None:
    sizes = [len(part) for part in deal(torch.logspace(3, -3, 300), 16, 12.0)]
    assert all(later >= earlier - 1 for earlier, later in pairwise(sizes)), sizes
    assert sizes[0] < sizes[-1]


def test_more_bits_a_token_code_more_components() -> None:
    of = torch.logspace(3, -6, 300)
    counts = [len(torch.cat(deal(of, 8, bits))) for bits in (3.0, 6.0, 12.0)]
    assert counts[0] < counts[1] < counts[2] <= 300


def test_a_component_worth_more_than_a_token_leaves_none_empty() -> None:
    parts = deal(torch.tensor([2.0**60, 1.0, 1.0, 1.0]), 4, 8.0)
    assert [len(part) for part in parts] == [1, 1, 1, 1]


@pytest.mark.timeout(3)
def test_fewer_components_than_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="3"):
        deal(torch.ones(3), 4, 12.0)


def test_the_reduction_is_that_of_the_theory() -> None:
    """6.02 dB a bit where all components are coded."""
    of = variances([3.0, 2.0, 1.0])
    one, two = (float((of * (-2 * rates(of, bits)).exp2()).sum()) for bits in (9.0, 12.0))
    assert 10 * math.log10(one / two) == pytest.approx(6.0206, abs=1e-3)
