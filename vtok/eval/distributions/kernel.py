"""Kernel distances of two sets of features: KID (arXiv 1801.01401) and CMMD (arXiv 2401.09603)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from vtok.errors import DataError

Estimator = Literal["biased", "unbiased", "u_statistic"]
_ROWS = 2048  # of a block of kernel values
_SIGMA, _SCALE = 10.0, 1000.0  # of CMMD


@dataclass(frozen=True)
class KernelDistance:
    """Mean and standard deviation over subsets, of the population."""

    mean: float
    std: float


def kernel_distance(
    generated: Tensor, reference: Tensor, *, subsets: int = 100, subset_size: int = 1000, seed: int = 2020
) -> KernelDistance:
    """KID as torch-fidelity draws it: the unbiased distance of random subsets, rows of generated chosen first, then of reference.

    Args:
        generated, reference: (n, d), (m, d) float.
        subset_size: at most so many rows, fewer where a set has fewer.
        seed: of NumPy's `RandomState`.

    Raises:
        DataError: fewer than two rows, or of different numbers of dimensions.
    """
    size = min(len(generated), len(reference), subset_size)
    random = np.random.RandomState(seed)
    found = []
    for _ in range(subsets):
        own = generated[random.choice(len(generated), size, replace=False)]
        other = reference[random.choice(len(reference), size, replace=False)]
        found.append(polynomial_mmd(own, other, "unbiased"))
    return KernelDistance(float(np.mean(found)), float(np.std(found)))


def polynomial_mmd(own: Tensor, other: Tensor, estimator: Estimator) -> float:
    """Squared maximum mean discrepancy of the kernel (x y / d + 1)^3; products in the rows' own precision, sums in float64.

    Args:
        own, other: (m, d) float both.
        estimator: "biased" counts pairs of a row with itself; "unbiased" leaves them out within the sets, "u_statistic" also pairs of one
            place between them.

    Raises:
        DataError: fewer than two rows, or of different numbers of dimensions.
    """
    _check(own, other)

    def kernel(rows: Tensor, others: Tensor) -> Tensor:
        return (rows @ others.T / rows.shape[1] + 1) ** 3

    return _mmd(own, other, kernel, estimator)


def clip_mmd(own: Tensor, other: Tensor) -> float:
    """CMMD: 1,000 times the biased squared discrepancy of the kernel exp(-|x - y|^2 / (2 * 10^2)), in float64.

    Args:
        own, other: (n, d), (m, d) float, rows of length 1.

    Raises:
        DataError: fewer than two rows, or of different numbers of dimensions.
    """
    _check(own, other)

    def kernel(rows: Tensor, others: Tensor) -> Tensor:
        squares = rows.square().sum(1)[:, None] + others.square().sum(1) - 2 * rows @ others.T
        return (squares / (-2 * _SIGMA**2)).exp()

    return _SCALE * _mmd(own.double(), other.double(), kernel, "biased")


def _mmd(own: Tensor, other: Tensor, kernel: Callable[[Tensor, Tensor], Tensor], estimator: Estimator) -> float:
    within = sum(_mean(rows, rows, kernel, with_itself=estimator == "biased") for rows in (own, other))
    return within - 2 * _mean(own, other, kernel, with_itself=estimator != "u_statistic")


def _mean(own: Tensor, other: Tensor, kernel: Callable[[Tensor, Tensor], Tensor], *, with_itself: bool) -> float:
    """Of the kernel over pairs, with or without those of one place, a block of rows at a time."""
    total = 0.0
    for first in range(0, len(own), _ROWS):
        values = kernel(own[first : first + _ROWS], other).double()
        total += float(values.sum()) - (0.0 if with_itself else float(values.diagonal(first).sum()))
    return total / (len(own) * (len(other) if with_itself else len(own) - 1))


def _check(own: Tensor, other: Tensor) -> None:
    if own.shape[1] != other.shape[1]:
        raise DataError(f"features of {own.shape[1]} dimensions against {other.shape[1]}: they come from different networks")
    if min(len(own), len(other)) < 2:
        raise DataError(f"a kernel distance needs two pictures on each side, got {len(own)} and {len(other)}")
