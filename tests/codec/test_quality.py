"""The fewest bytes for a quality, on a stand-in for decoding."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.strategies import QUICK
from tests.codec.test_rate import NESTED, SCALES, curves, size_of_grid, total
from vtok.codec.quality import lengths_for_psnr
from vtok.codec.rate import lengths_for_bytes
from vtok.errors import BudgetError


class Meter:
    """PSNR of a decoder that adds a fixed error, and a little noise, to what the tokens leave."""

    def __init__(self, errors, spec, noise=0.0):
        self.errors, self.spec, self.noise, self.calls = errors, spec, noise, 0

    def __call__(self, lengths):
        self.calls += 1
        ripple = self.noise * math.sin(float(lengths.sum()))
        return 30 - 10 * math.log10(0.05 + total(self.errors, self.spec, lengths) / len(lengths)) + ripple


@QUICK
@given(st.integers(0, 2**32), st.sampled_from([NESTED, SCALES]), st.floats(0, 1), st.sampled_from([0.0, 0.1]))
def test_the_quality_is_reached_in_at_most_eight_decodes(seed, spec, part, noise):
    errors, size_of = curves(24, spec, seed), size_of_grid(4, 6, spec)
    meter = Meter(errors, spec, noise)
    least, most = meter(np.full(24, 1)), meter(1 + errors[:, 1:].argmin(1)) if spec is NESTED else meter(np.full(24, 30))
    target = least + part * (most - least) - 2 * noise
    meter.calls = 0
    lengths = lengths_for_psnr(errors, spec, size_of, meter, target)
    assert meter.calls <= 8
    assert meter(lengths) >= target


@pytest.mark.parametrize("target", [28.0, 32.0, 36.0])
def test_the_file_is_nearly_as_small_as_can_be(target):
    errors, size_of = curves(96, NESTED, 1), size_of_grid(8, 12, NESTED)
    meter = Meter(errors, NESTED)
    found = size_of(lengths_for_psnr(errors, NESTED, size_of, meter, target))
    sizes = range(size_of(np.full(96, 1)), size_of(np.full(96, 32)), 16)
    smallest = next(n for n in sizes if meter(lengths_for_bytes(errors, NESTED, size_of, n)) >= target)
    assert found <= 1.02 * smallest


def test_a_low_mark_takes_the_smallest_file():
    errors, size_of = curves(24, NESTED, 0), size_of_grid(4, 6, NESTED)
    lengths = lengths_for_psnr(errors, NESTED, size_of, Meter(errors, NESTED), 1.0)
    assert size_of(lengths) <= 1.15 * size_of(np.full(24, 1))


def test_a_quality_out_of_reach_says_what_can_be_reached():
    errors, size_of = curves(24, NESTED, 0), size_of_grid(4, 6, NESTED)
    meter = Meter(errors, NESTED)
    best = meter(1 + errors[:, 1:].argmin(1))
    with pytest.raises(BudgetError, match=f"99 dB asked, .* reach {best:.2f} dB"):
        lengths_for_psnr(errors, NESTED, size_of, meter, 99.0)
