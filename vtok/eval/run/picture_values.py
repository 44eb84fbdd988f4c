"""A figure of each picture, gathered in any order and from any number of processes."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vtok.errors import DataError


@dataclass(frozen=True)
class Summary:
    """Of a figure over pictures.

    Args:
        mean: inf where any picture's is.
        std: of the population, of the finite ones.
        median: of all.
        num: of pictures.
        num_infinite: of pictures equal to their original, where the figure is a PSNR.
        finite_mean: of the others; None where there are none.
        sha256: of the values in the order of the data set.
    """

    mean: float
    std: float
    median: float
    num: int
    num_infinite: int
    finite_mean: float | None
    sha256: str


class PictureValues:
    """Values by the number of their picture. Sums are exact before they are rounded, so the parts they came in make no difference."""

    def __init__(self) -> None:
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def update(self, indices: Tensor, values: Tensor) -> None:
        """Add values (B,) of the pictures `indices` (B,).

        Raises:
            ValueError: shapes that differ.
            DataError: a value that is no number; the message has its picture.
        """
        if indices.shape != values.shape or indices.ndim != 1:
            raise ValueError(f"indices and values must be (B,), got {tuple(indices.shape)} and {tuple(values.shape)}")
        if bool(values.isnan().any()):
            raise DataError(f"picture {int(indices[values.isnan()][0])} has a figure that is no number")
        self._parts.append((indices.numpy(), values.double().numpy()))

    def merge(self, other: "PictureValues") -> None:
        """Add what another has."""
        self._parts += other._parts

    @property
    def ordered(self) -> np.ndarray:
        """(n,) float64 in the order of the data set; a picture that came twice counts once."""
        if not self._parts:
            return np.empty(0)
        indices, values = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return values[np.unique(indices, return_index=True)[1]]

    def compute(self) -> Summary:
        """The figures over all pictures.

        Raises:
            DataError: there are none.
        """
        values = self.ordered
        if not len(values):
            raise DataError("no picture was measured")
        finite = values[np.isfinite(values)]
        mean = math.fsum(finite) / len(finite) if len(finite) else None
        spread = 0.0 if mean is None else math.sqrt(math.fsum((finite - mean) ** 2) / len(finite))
        digest = hashlib.sha256(values.astype("<f8").tobytes()).hexdigest()
        infinite = len(values) - len(finite)
        whole = math.inf if infinite or mean is None else mean
        return Summary(whole, spread, float(np.median(values)), len(values), infinite, mean, digest)
