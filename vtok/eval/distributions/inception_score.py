"""Inception score (arXiv 1606.03498), by the rules that published code follows."""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vtok.errors import DataError


@dataclass(frozen=True)
class ScoreRule:
    """How pictures are parted, and in which type probabilities are computed.

    Args:
        splits: parts of nearly equal size; None where `block` says it.
        block: pictures of a part, the last may be short.
        shuffle_seed: of NumPy's `RandomState`, whose permutation comes first; None leaves the order.
        eps: added inside the logarithms.
        dtype: of the probabilities.

    Raises:
        ValueError: both or neither of splits and block.
    """

    splits: int | None = 10
    block: int | None = None
    shuffle_seed: int | None = 2020
    eps: float = 0.0
    dtype: Literal["float32", "float64"] = "float64"

    def __post_init__(self) -> None:
        if (self.splits is None) == (self.block is None):
            raise ValueError("give either the number of splits or the size of a block")

    def parts(self, count: int) -> list[slice]:
        """The rows of each part that has any."""
        if self.block is not None:
            return [slice(first, first + self.block) for first in range(0, count, self.block)]
        splits = self.splits or 1
        ends = [number * count // splits for number in range(splits + 1)]
        return [slice(first, last) for first, last in pairwise(ends) if last > first]

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


@dataclass(frozen=True)
class InceptionScore:
    """Mean and standard deviation over parts, of the population."""

    mean: float
    std: float


def inception_score(logits: Tensor, rule: ScoreRule) -> InceptionScore:
    """exp of the mean divergence of each picture's classes from those of its part, from 1 to the number of classes.

    Args:
        logits: (n, classes) float, of the 2015 network without its bias.

    Raises:
        DataError: no picture.
    """
    if not len(logits):
        raise DataError("an Inception score needs pictures, got none")
    if rule.shuffle_seed is not None:
        logits = logits[np.random.RandomState(rule.shuffle_seed).permutation(len(logits))]
    chances = logits.to(getattr(torch, rule.dtype)).softmax(1)
    found = []
    for part in rule.parts(len(chances)):
        own = chances[part]
        mean = own.mean(0, keepdim=True)
        divergence = torch.xlogy(own, own + rule.eps) - torch.xlogy(own, mean + rule.eps)
        found.append(float(divergence.sum(1).mean().double().exp()))
    return InceptionScore(float(np.mean(found)), float(np.std(found)))
