"""Bjontegaard deltas against closed forms, against sums by hand, and what is refused."""

import math
import sys

import numpy as np
import pytest

from vtok.errors import DataError, MissingExtraError
from vtok.eval.curves.bd_rate import bd_quality, bd_rate, quality_points

ANCHOR = [(0.1, 25.0), (0.2, 28.5), (0.4, 31.0), (0.8, 34.0), (1.6, 36.5)]


class TestValues:
    @pytest.fixture(autouse=True)
    def scipy(self):
        pytest.importorskip("scipy", reason="needs the extra `eval`")

    @pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 3.0])
    def test_a_constant_factor_of_the_rate_is_that_many_percent(self, factor):
        found = bd_rate([(factor * rate, quality) for rate, quality in ANCHOR], ANCHOR)
        assert found.value == pytest.approx(100 * (factor - 1), rel=1e-12)
        assert (found.low, found.high) == (25, 36.5)

    def test_a_constant_shift_of_quality_is_that_shift(self):
        found = bd_quality([(rate, quality + 1.5) for rate, quality in ANCHOR], ANCHOR)
        assert found.value == pytest.approx(1.5, rel=1e-12)
        assert (found.low, found.high) == pytest.approx((0.1, 1.6), rel=1e-12)

    def test_lines_of_other_slopes(self):
        """Quality 10 log10(rate) against 20 log10(rate): at quality q the rates are 10^(q / 10) and 10^(q / 20)."""
        curve, anchor = [(rate, 10 * math.log10(rate)) for rate in (1, 10, 100)], [(rate, 20 * math.log10(rate)) for rate in (1, 10, 100)]
        rate, quality = bd_rate(curve, anchor), bd_quality(curve, anchor)
        assert (rate.low, rate.high) == (0, 20)
        assert rate.value == pytest.approx(100 * (10**0.5 - 1), rel=1e-12)  # mean of q / 20 over 0 to 20
        assert quality.value == pytest.approx(-10, rel=1e-12)  # mean of -10 log10(rate), 0 to 2

    def test_only_what_both_cover_counts(self):
        curve = [(0.05, 20.0), (0.3, 31.0), (0.5, 33.0)]
        rate, quality = bd_rate(curve, ANCHOR), bd_quality(curve, ANCHOR)
        assert (rate.low, rate.high) == (25, 33)
        assert (quality.low, quality.high) == pytest.approx((0.1, 0.5), rel=1e-12)

    def test_the_integral_is_that_of_a_fine_sum(self):
        from scipy.interpolate import PchipInterpolator

        curve = [(0.07, 24.0), (0.15, 28.0), (0.33, 31.5), (0.9, 35.5)]
        qualities = np.linspace(25, 35.5, 200_001)
        own, other = (PchipInterpolator([q for _, q in points], np.log10([r for r, _ in points]))(qualities) for points in (curve, ANCHOR))
        expected = 100 * (10 ** np.trapezoid(own - other, qualities / 10.5) - 1)
        assert bd_rate(curve, ANCHOR).value == pytest.approx(expected, rel=1e-8)

    def test_neither_the_order_of_points_nor_the_unit_of_rates_matters(self):
        curve = [(0.9, 35.5), (0.07, 24.0), (0.33, 31.5)]
        one = bd_rate(curve, ANCHOR).value
        assert bd_rate(curve[::-1], ANCHOR).value == one
        assert bd_rate([(8000 * r, q) for r, q in curve], [(8000 * r, q) for r, q in ANCHOR]).value == pytest.approx(one, rel=1e-12)

    def test_two_points_are_a_line(self):
        assert bd_rate([(1, 0), (100, 2)], [(2, 0), (200, 2)]).value == pytest.approx(-50, rel=1e-12)

    @pytest.mark.parametrize("function", [bd_rate, bd_quality])
    @pytest.mark.parametrize(
        ("points", "said"),
        [
            ([], "has 0 points"),
            ([(1, 2)], r"has 1 point;"),
            ([(1, 2), (1, 3), (2, 4)], r"one rate twice, at \(1, 2\) and \(1, 3\)"),
            ([(3, 5), (1, 2), (2, 5)], r"does not rise .*\(2, 5\) and \(3, 5\)"),
            ([(1, 2), (2, math.inf)], r"\(2, inf\)"),
            ([(1, math.nan), (2, 3)], r"\(1, nan\)"),
            ([(0, 2), (2, 3)], r"\(0, 2\); rates must be positive"),
        ],
    )
    def test_points_that_make_no_curve_are_named(self, function, points, said):
        with pytest.raises(DataError, match=rf"^the curve .*{said}|^the curve {said}"):
            function(points, ANCHOR)
        with pytest.raises(DataError, match=r"^the anchor "):
            function(ANCHOR, points)

    def test_without_anything_in_common_the_ranges_are_said(self):
        with pytest.raises(DataError, match=r"no quality in common: the curve has 1 to 2, the anchor 25 to 36.5;"):
            bd_rate([(0.1, 1), (0.2, 2)], ANCHOR)
        with pytest.raises(DataError, match=r"no rate in common: the curve has 2 to 20, the anchor 0.1 to 1.6;"):
            bd_quality([(2, 1), (20, 2)], ANCHOR)


def row(bpp, value):
    return {"bpp": bpp, "metrics": {"psnr": {"value": value}, "lpips": {"value": value and 1 / value}}}


def test_points_of_a_record_rise_in_rate_and_quality():
    rows = [row(0.4, 30.0), row(0.1, 20.0), row(0.1, 20.0)]
    assert quality_points(rows, "psnr", higher_is_better=True) == [(0.1, 20), (0.4, 30)]
    assert quality_points(rows, "lpips", higher_is_better=False) == [(0.1, -1 / 20), (0.4, -1 / 30)]


def test_rows_without_a_figure_or_a_size_are_left_out():
    rows = [row(0.1, None), row(0.2, math.inf), row(None, 20.0), row(0.3, 25.0)]
    assert quality_points(rows, "psnr", higher_is_better=True) == [(0.3, 25)]
    assert quality_points(rows, "ssim", higher_is_better=True) == []


def test_without_scipy_the_install_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.interpolate", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vtok\[eval\]"'):
        bd_rate(ANCHOR, ANCHOR)
