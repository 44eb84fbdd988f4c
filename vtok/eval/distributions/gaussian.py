"""Mean and covariance of features, in float64, gathered part by part."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vtok.errors import DataError

_ROWS = 1024  # centred at a time: 16 MB at 2,048 dimensions


@dataclass(frozen=True, eq=False)
class Gaussian:
    """What a Fréchet distance knows of a set.

    Args:
        mean: (d,) float64.
        covariance: (d, d) float64, of n - 1 degrees of freedom.
        count: n, of rows.

    Raises:
        ValueError: shapes that contradict each other.
    """

    mean: Tensor
    covariance: Tensor
    count: int

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.covariance.shape != (len(self.mean), len(self.mean)):
            raise ValueError(f"expected (d,) and (d, d), got {tuple(self.mean.shape)} and {tuple(self.covariance.shape)}")

    @property
    def rank_deficient(self) -> bool:
        """Whether there are too few rows to fill all dimensions."""
        return self.count <= len(self.mean)


class GaussianStatistics:
    """Streaming mean and covariance (Chan, Golub, LeVeque 1983): parts in any number give the whole up to rounding.

    Args:
        dim: d of the features.
    """

    def __init__(self, dim: int):
        self.count = 0
        self._mean = np.zeros(dim)
        self._scatter = np.zeros((dim, dim))  # summed products of deviations from the mean

    def update(self, features: Tensor) -> None:
        """Add rows (B, d) float.

        Raises:
            ValueError: another shape.
            DataError: a row with what is no number.
        """
        if features.ndim != 2 or features.shape[1] != len(self._mean):
            raise ValueError(f"features must be (B, {len(self._mean)}), got {tuple(features.shape)}")
        for rows in features.detach().cpu().split(_ROWS):
            self._update(rows.numpy().astype(np.float64))

    def merge(self, other: "GaussianStatistics") -> None:
        """Add what another has seen.

        Raises:
            ValueError: of another number of dimensions.
        """
        if len(self._mean) != len(other._mean):
            raise ValueError(f"statistics of {len(self._mean)} and of {len(other._mean)} dimensions")
        self._add(other.count, other._mean, other._scatter)

    def compute(self) -> Gaussian:
        """The statistics of all rows.

        Raises:
            DataError: fewer than two rows.
        """
        if self.count < 2:
            raise DataError(f"a covariance needs two pictures at least, got {self.count}")
        return Gaussian(torch.from_numpy(self._mean.copy()), torch.from_numpy(self._scatter / (self.count - 1)), self.count)

    def _update(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        mean = rows.mean(0)
        if not np.isfinite(mean).all():
            first = int(np.flatnonzero(~np.isfinite(rows).all(1))[0])
            raise DataError(f"features of picture {self.count + first} hold what is no number")
        rows -= mean
        self._add(len(rows), mean, rows.T @ rows)  # a product with itself: NumPy computes one half

    def _add(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        if not count:
            return
        total = self.count + count
        shift = mean - self._mean
        self._scatter += scatter
        self._scatter += np.outer(shift, shift * (self.count * count / total))
        self._mean = self._mean + shift * (count / total)
        self.count = total
