"""A linear probe in closed form: how well a linear map tells the class of a picture from a frozen embedding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from vtok.errors import UnsupportedError

MAX_FEATURES = 8192  # 512 MiB of products, a few times
_CONSTANT = 1e-6  # spread of a feature by its mean, below which float32 cannot tell that it varies


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """Scores of classes: features @ weights + bias.

    Args:
        weights: (F, C) float64.
        bias: (C,) float64.
    """

    weights: Tensor
    bias: Tensor

    def scores(self, features: Tensor) -> Tensor:
        """(B, C) float64 of features (B, F)."""
        return features.double() @ self.weights + self.bias


class RidgeProbe:
    """Ridge regression from standardised features to one-hot labels.

    It stands in for the linear probe of the papers, where a layer behind a batch norm without parameters is trained by LARS for 90 epochs
    on augmented pictures. Here the pictures are taken as they are and squared error takes the place of cross-entropy, so that the best
    layer has a closed form: the same figure on any machine, in one pass, with a penalty in the place of learning rate and epochs. It is
    lower than the trained probe's as a rule, by a few points; compare it with itself alone.

    Only means and centred products are kept, in float64 on the CPU, and they are merged by the formulas of Chan, Golub and LeVeque (1979).

    Args:
        num_features: F.
        num_classes: C.

    Raises:
        UnsupportedError: more features than 8192.
    """

    def __init__(self, num_features: int, num_classes: int):
        if num_features > MAX_FEATURES:
            raise UnsupportedError(
                f"a linear probe takes up to {MAX_FEATURES:,} features, not {num_features:,}: memory; take the mean of positions"
            )
        self.num_classes = num_classes
        self.count = 0
        self._mean = torch.zeros(num_features, dtype=torch.float64)
        self._class_share = torch.zeros(num_classes, dtype=torch.float64)
        self._products = torch.zeros(num_features, num_features, dtype=torch.float64)  # centred
        self._with_classes = torch.zeros(num_features, num_classes, dtype=torch.float64)  # centred

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Count pictures with features (B, F) float and labels (B,) int64 from 0 to C - 1.

        Raises:
            ValueError: another shape, or labels outside.
        """
        if features.ndim != 2 or features.shape[1] != len(self._mean) or labels.shape != features.shape[:1]:
            raise ValueError(f"features must be (B, {len(self._mean)}) with as many labels, got {_shape(features)} and {_shape(labels)}")
        if not len(features):
            return
        values, targets = features.double().cpu(), one_hot(labels.cpu(), self.num_classes).double()
        mean, share = values.mean(0), targets.mean(0)
        centred = values - mean
        self._add(len(values), mean, share, centred.T @ centred, centred.T @ (targets - share))

    def merge(self, other: Self) -> None:
        """Add what another, of as many features and classes, has counted."""
        if other.count:
            self._add(other.count, other._mean, other._class_share, other._products, other._with_classes)

    def compute(self, penalty: float) -> LinearClassifier:
        """The best linear map: least mean over pictures of |one-hot label - bias - W z|^2, plus penalty * |W|^2, z standardised features.

        Features that are constant, such as those of absent positions, get no weight.

        Raises:
            ValueError: nothing was counted, or a penalty that is not positive.
        """
        if not self.count or penalty <= 0:
            raise ValueError(f"a probe needs pictures and a positive penalty, got {self.count} and {penalty}")
        spread = (self._products.diagonal() / self.count).sqrt()
        varying = (spread > _CONSTANT * self._mean.abs()).nonzero()[:, 0]
        scale = self.count**0.5 * spread[varying]
        system = self._products[varying][:, varying].div_(scale).div_(scale[:, None])
        system.diagonal().add_(penalty)
        target = self._with_classes[varying] / scale[:, None] / self.count**0.5
        solution = torch.cholesky_solve(target, torch.linalg.cholesky(system)) if len(varying) else target
        weights = torch.zeros_like(self._with_classes)
        weights[varying] = solution / spread[varying, None]
        return LinearClassifier(weights, self._class_share - self._mean @ weights)

    def _add(self, count: int, mean: Tensor, share: Tensor, products: Tensor, with_classes: Tensor) -> None:
        total = self.count + count
        between = self.count * count / total
        step, share_step = mean - self._mean, share - self._class_share
        self._products.add_(products).addr_(step, step, alpha=between)
        self._with_classes.add_(with_classes).addr_(step, share_step, alpha=between)
        self._mean += step * (count / total)
        self._class_share += share_step * (count / total)
        self.count = total


def num_right(scores: Tensor, labels: Tensor, most: int = 1) -> int:
    """How many of the labels (B,) are among the `most` best of scores (B, C)."""
    best = scores.topk(min(most, scores.shape[1]), dim=1).indices
    return int((best == labels[:, None].to(best.device)).any(1).sum())


def best_penalty(penalties: Sequence[float], rights: Sequence[int]) -> float:
    """The penalty with most right answers; the larger one of equals."""
    return max(zip(rights, penalties, strict=True))[1]


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
