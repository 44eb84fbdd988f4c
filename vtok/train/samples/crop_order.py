"""Which picture each sample of a run shows, and who reads it: functions of the seed and the sample's number alone.

Samples are numbered through a run: number = step * batch_size + index in the global batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vtok.errors import ConfigError

_ORDER, _CROP = 1, 2  # kinds of draws, between the seed and the number, so that no two of them meet


class SampleOrder:
    """Every picture once in each epoch, in an order of that epoch's own.

    Args:
        seed: of the run.
        pictures: their indices in the source, at least one.
    """

    def __init__(self, seed: int, pictures: Sequence[int]) -> None:
        self.seed = seed
        self.pictures = list(pictures)
        self._last = (0, self._permutation(0))

    def candidates(self, sample: int) -> Iterator[int]:
        """The sample's picture, then those to take in its place where it cannot be read: the next ones of the epoch's order."""
        epoch, place = divmod(sample, len(self.pictures))
        if epoch != self._last[0]:
            self._last = (epoch, self._permutation(epoch))
        order = self._last[1]
        for step in range(len(order)):
            yield self.pictures[order[(place + step) % len(order)]]

    def first(self, num: int) -> list[int]:
        """The first pictures of the first epoch."""
        return [self.pictures[place] for place in self._permutation(0)[:num]]

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, _ORDER, epoch)).permutation(len(self.pictures))


def crop_rng(seed: int, sample: int) -> np.random.Generator:
    """The draws of a sample's crop."""
    return np.random.default_rng((seed, _CROP, sample))


@dataclass(frozen=True)
class Share:
    """The part of each step's samples that one process works on.

    Args:
        batch_size: samples of a step over all processes.
        accumulate: parts that a process splits its samples into.
        rank: of the process, from 0.
        world_size: number of processes.

    Raises:
        ConfigError: the batch cannot be dealt out evenly.
    """

    batch_size: int
    accumulate: int = 1
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % (self.world_size * self.accumulate):
            raise ConfigError(
                f"train.batch_size {self.batch_size} cannot be dealt out evenly: expected a multiple of {self.world_size * self.accumulate}"
                f" ({self.world_size} processes, train.accumulate {self.accumulate})"
            )

    def parts(self) -> list[range]:
        """Indices in the global batch of each part, in the order they are worked on."""
        size = self.batch_size // (self.world_size * self.accumulate)
        first = self.rank * self.accumulate * size
        return [range(first + part * size, first + (part + 1) * size) for part in range(self.accumulate)]


@dataclass(frozen=True)
class Schedule:
    """The sample numbers of each part of each step, one list a part: what a DataLoader reads by.

    Args:
        share: of this process.
        start: first step.
        stop: step before which to end.
    """

    share: Share
    start: int
    stop: int

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            for part in self.share.parts():
                yield [step * self.share.batch_size + index for index in part]
