"""Features of pictures, gathered in any order."""

import torch
from torch import Tensor

from vtok.errors import DataError


class FeatureSet:
    """Rows by the number of their picture; the parts they came in make no difference."""

    def __init__(self) -> None:
        self._indices: list[Tensor] = []
        self._features: list[Tensor] = []

    def update(self, indices: Tensor, features: Tensor) -> None:
        """Add rows (B, d) float32 of the pictures `indices` (B,).

        Raises:
            ValueError: shapes that differ.
            DataError: a row with what is no number; the message has its picture.
        """
        if features.ndim != 2 or indices.shape != features.shape[:1]:
            raise ValueError(f"indices must be (B,) and features (B, d), got {tuple(indices.shape)} and {tuple(features.shape)}")
        broken = ~features.isfinite().all(1)
        if bool(broken.any()):
            raise DataError(f"features of picture {int(indices[broken][0])} hold what is no number")
        self._indices.append(indices)
        self._features.append(features)

    def merge(self, other: "FeatureSet") -> None:
        """Add what another has."""
        self._indices += other._indices
        self._features += other._features

    def compute(self) -> Tensor:
        """(n, d) in the order of the pictures' numbers; a picture that came twice, as padded batches have it, is there once.

        Raises:
            DataError: there are none.
            ValueError: a picture came with two different rows.
        """
        if not self._indices:
            raise DataError("no picture has features")
        indices, features = torch.cat(self._indices), torch.cat(self._features)
        order = indices.argsort(stable=True)
        indices, features = indices[order], features[order]
        first = torch.ones(len(indices), dtype=torch.bool)
        first[1:] = indices[1:] != indices[:-1]
        if not bool(first.all()):
            _check_equal(indices, features, first)
        return features[first]


def _check_equal(indices: Tensor, features: Tensor, first: Tensor) -> None:
    again = (~first).nonzero()[:, 0]
    differ = (features[again] != features[again - 1]).any(1)
    if bool(differ.any()):
        raise ValueError(f"picture {int(indices[again[differ][0]])} came with two different rows")
