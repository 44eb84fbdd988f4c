"""Bjontegaard deltas: how far apart two curves of rate and quality lie, over what they have in common.

VCEG-M33 (Bjontegaard 2001) with piecewise cubic Hermite curves (PCHIP) in place of a cubic through four points, as JCTVC-L1100 has it: they
go through any number of points and do not swing between them. The rate is taken as its logarithm.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from vtok.errors import DataError, MissingExtraError

Points = Sequence[tuple[float, float]]  # (rate, quality) in any order; rate in any unit, more quality is better


@dataclass(frozen=True)
class CurveDelta:
    """A mean difference of two curves.

    Args:
        value: of the first curve from the anchor; see the function that gave it for its unit.
        low, high: what both curves cover, where the mean was taken: qualities for `bd_rate`, rates for `bd_quality`.
    """

    value: float
    low: float
    high: float


def bd_rate(curve: Points, anchor: Points) -> CurveDelta:
    """Percent of bits more than the anchor's, at equal quality: -20 is a fifth less. Of the mean ratio, which is geometric.

    Raises:
        DataError: fewer than two points, points that are no numbers or do not rise, or no quality in common; the message says which.
        MissingExtraError: scipy is not installed.
    """
    own, other = _checked(curve, "the curve"), _checked(anchor, "the anchor")
    value, low, high = _mean_difference(own[::-1], other[::-1], "quality", float)
    return CurveDelta(100 * math.expm1(value * math.log(10)), low, high)


def bd_quality(curve: Points, anchor: Points) -> CurveDelta:
    """Quality more than the anchor's at equal rate, in the unit of the quality: the mean over the logarithm of the rate.

    Raises:
        DataError, MissingExtraError: as `bd_rate`, for rates in common.
    """
    own, other = _checked(curve, "the curve"), _checked(anchor, "the anchor")
    value, low, high = _mean_difference(own, other, "rate", lambda exponent: 10**exponent)
    return CurveDelta(value, 10**low, 10**high)


def quality_points(rows: Sequence[Mapping[str, Any]], metric: str, *, higher_is_better: bool) -> list[tuple[float, float]]:
    """Points (bits per pixel, quality) of the rows of a record of `vtok eval` or `vtok bench-codecs`, by rising rate.

    Quality is the figure, or its negative where less is better. Left out: rows without the figure or with an infinite one, and rows that
    say the same again, as codecs do below their smallest file.
    """
    figures = [(row["bpp"], row["metrics"].get(metric, {}).get("value")) for row in rows]
    sign = 1 if higher_is_better else -1
    return sorted({(rate, sign * value) for rate, value in figures if rate is not None and value is not None and math.isfinite(value)})


def _checked(points: Points, name: str) -> np.ndarray:
    """Rows of log10 rate and of quality, (2, n) float64, both strictly rising."""
    if len(points) < 2:
        raise DataError(f"{name} has {len(points)} point{'s' * (len(points) != 1)}; a difference of curves takes at least two")
    for rate, quality in points:
        if not (math.isfinite(rate) and math.isfinite(quality) and rate > 0):
            raise DataError(f"{name} has the point ({rate:g}, {quality:g}); rates must be positive, and both numbers finite")
    ordered = sorted(points)
    for (rate, quality), (next_rate, next_quality) in pairwise(ordered):
        both = f"({rate:g}, {quality:g}) and ({next_rate:g}, {next_quality:g})"
        if rate == next_rate:
            raise DataError(f"{name} has one rate twice, at {both}; leave one of them out")
        if quality >= next_quality:
            raise DataError(f"{name} does not rise from rate to rate: (rate, quality) {both}; leave out points or take another metric")
    rates, qualities = np.array(ordered, np.float64).T
    return np.stack([np.log10(rates), qualities])


def _mean_difference(own: np.ndarray, other: np.ndarray, axis: str, shown: Callable[[float], float]) -> tuple[float, float, float]:
    """Of two curves (2, n), x and y: the mean of y minus the other's y over the x that both have, and the ends of these.

    Args:
        axis: what x is called.
        shown: x as a message shows it.
    """
    low, high = max(own[0, 0], other[0, 0]), min(own[0, -1], other[0, -1])
    if low >= high:
        ranges = [f"{shown(x[0]):.5g} to {shown(x[-1]):.5g}" for x in (own[0], other[0])]
        raise DataError(f"no {axis} in common: the curve has {ranges[0]}, the anchor {ranges[1]}; measure them at other rates")
    area, other_area = (_interpolator(*curve).integrate(low, high) for curve in (own, other))
    return float(area - other_area) / (high - low), float(low), float(high)


def _interpolator(x: np.ndarray, y: np.ndarray) -> Any:
    try:
        from scipy.interpolate import PchipInterpolator
    except ImportError:
        raise MissingExtraError('distances of curves need scipy; install it with: pip install "vtok[eval]"') from None
    return PchipInterpolator(x, y)
