"""Linear probe and k-NN on one embedding of a data set, with all choices made on its training part."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from vtok.errors import DataError
from vtok.eval.downstream.nearest_neighbours import NUM_NEIGHBOURS, TEMPERATURE, NearestNeighbours
from vtok.eval.downstream.ridge_probe import RidgeProbe, best_penalty, num_right

PENALTIES: Final = tuple(10.0 ** (exponent / 2) for exponent in range(-8, 7))
HELD_OUT: Final = 5  # one of so many training pictures chooses the penalty
_SEED = 0

Blocks = Callable[[Tensor], Iterator[Tensor]]
"""Gives the features (b, F) of pictures at some places (n,), block by block in their order."""


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Pictures as a probe sees them.

    Args:
        blocks: their features, made anew each time, so that they need not all be in memory.
        labels: (n,) int64 from 0.
    """

    blocks: Blocks
    labels: Tensor

    def of(self, places: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (b, F) and labels (b,) of pictures at some places."""
        start = 0
        for features in self.blocks(places):
            yield features, self.labels[places[start : start + len(features)]]
            start += len(features)

    def all(self) -> Tensor:
        """(n, F), together."""
        return torch.cat(list(self.blocks(torch.arange(len(self.labels)))))


@dataclass(frozen=True)
class ProbeFigures:
    """Shares of validation pictures whose class is found.

    Args:
        linear_top1, linear_top5: by ridge regression.
        knn_top1: by the vote of the 20 nearest training pictures.
        num_features: of a picture.
        penalty: of the ridge regression, chosen on training pictures.
    """

    linear_top1: float
    linear_top5: float
    knn_top1: float
    num_features: int
    penalty: float


def probe(train: LabelledFeatures, valid: LabelledFeatures, num_classes: int) -> ProbeFigures:
    """Measure how well classes are told from an embedding.

    A fifth of the training pictures, drawn with a fixed seed, chooses the penalty of the ridge regression, which then learns from all of
    them. The validation pictures are only measured.

    Raises:
        DataError: fewer than 2 training pictures.
        UnsupportedError: too many features, see `RidgeProbe`.
    """
    if len(train.labels) < 2:
        raise DataError(f"a probe needs at least 2 pictures to learn from, got {len(train.labels)}")
    queries = valid.all()
    order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(_SEED))  # says nothing of classes
    held_out, rest = order.tensor_split([max(1, len(order) // HELD_OUT)])
    neighbours = NearestNeighbours(queries)
    counted, chooser = (RidgeProbe(queries.shape[1], num_classes) for _ in range(2))
    for statistics, places in ((counted, rest), (chooser, held_out)):
        for features, labels in train.of(places):
            statistics.update(features, labels)
            neighbours.update(features, labels)
    penalty = _chosen_penalty(counted, train.of(held_out))
    counted.merge(chooser)
    scores = counted.compute(penalty).scores(queries)
    num = len(valid.labels)
    knn = int((neighbours.compute(num_classes, TEMPERATURE) == valid.labels).sum()) / num
    top1, top5 = (num_right(scores, valid.labels, most) / num for most in (1, 5))
    return ProbeFigures(top1, top5, knn, queries.shape[1], penalty)


def settings() -> dict[str, object]:
    """What the figures depend on beside the embeddings, JSON-able."""
    return {
        "neighbours": NUM_NEIGHBOURS,
        "similarity": "cosine",
        "temperature": TEMPERATURE,
        "penalties": list(PENALTIES),
        "penalty_chosen_on": f"1 of {HELD_OUT} training pictures",
        "seed": _SEED,
    }


def _chosen_penalty(statistics: RidgeProbe, held_out: Iterator[tuple[Tensor, Tensor]]) -> float:
    classifiers = [statistics.compute(penalty) for penalty in PENALTIES]
    rights = [0] * len(classifiers)
    for features, labels in held_out:
        for place, classifier in enumerate(classifiers):
            rights[place] += num_right(classifier.scores(features), labels)
    return best_penalty(PENALTIES, rights)
