"""The strings of a run, step by step: the same ones for any number of processes, and for a run that goes on."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from vtok.data.sources import Skipped
from vtok.data.token_shards.memory import Strings, open_strings
from vtok.errors import ConfigError, DataError
from vtok.train.config import DataConfig, TrainConfig
from vtok.train.samples.batch import StringBatch
from vtok.train.samples.crop_order import SampleOrder, Schedule, Share

_ORDER_SEED = 0  # of strings to measure on, not the run's


class StringBatches:
    """For each step, the list of this process's parts of the global batch.

    Args:
        strings: the data set.
        order: which string each sample is.
        schedule: which samples this process works on.
        device: where the batches are wanted.
    """

    autoencoder_digest: str | None = None
    wait_s = 0.0  # the operating system reads ahead

    def __init__(self, strings: Strings, order: SampleOrder, schedule: Schedule, device: torch.device) -> None:
        self.skipped = Skipped()
        self._strings, self._order, self._schedule, self._device = strings, order, schedule, device

    @property
    def num_pictures(self) -> int:
        """How many strings there are to train on."""
        return len(self._order.pictures)

    def __len__(self) -> int:
        """Steps from the first to the last."""
        return max(0, self._schedule.stop - self._schedule.start)

    def __iter__(self) -> Iterator[list[StringBatch]]:
        """From the first step."""
        numbers = iter(self._schedule)
        for step in range(self._schedule.start, self._schedule.stop):
            yield [self._batch(next(numbers), indices, step) for indices in self._schedule.share.parts()]

    def _batch(self, numbers: Sequence[int], indices: range, step: int) -> StringBatch:
        rows = [next(self._order.candidates(number)) for number in numbers]
        return batch_of(self._strings, rows, indices, step, self._device)


def open_string_batches(
    config: DataConfig,
    train: TrainConfig,
    seed: int,
    *,
    start_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
    overfit: int | None = None,
    device: torch.device | str = "cpu",
) -> StringBatches:
    """Open the strings of a run; sample n = step * batch_size + index is string n % (number of strings) of its epoch's random order.

    Args: as of `open_batches`.

    Raises:
        ConfigError: no path given, or sizes that do not divide.
        DataError: no finished data set of strings there, or none of the split that is asked.
    """
    share = Share(train.batch_size, train.accumulate, rank, world_size)
    strings = open_run_strings(config)
    order = SampleOrder(seed, rows_of(strings, config.split))
    if overfit is not None:
        order = SampleOrder(seed, order.first(overfit))
    return StringBatches(strings, order, Schedule(share, start_step, train.steps), torch.device(device))


def open_run_strings(config: DataConfig) -> Strings:
    """The data set that a run's [data] section names.

    Raises:
        ConfigError: no path given.
        DataError: as `open_strings`.
    """
    if not config.path:
        raise ConfigError("data.path is empty: say where the token shards are, for example --set data.path=FOLDER (see vtok tokenize)")
    return open_strings(config.path)


def rows_of(strings: Strings, split: str) -> list[int]:
    """Which strings belong to a part of the data.

    Raises:
        DataError: none.
    """
    rows = range(len(strings)) if split == "all" else np.flatnonzero(strings.held_out == (split == "held_out")).tolist()
    if not rows:
        raise DataError(f"{strings.name}: none of its {len(strings)} strings belongs to the {split.replace('_', '-')} part; add pictures")
    return list(rows)


def held_out_strings(config: DataConfig, num: int) -> StringBatch:
    """Held-out strings to measure on, the same ones for every run on this data; of all strings where none is held out.

    Raises:
        ConfigError, DataError: as `open_run_strings`.
    """
    strings = open_run_strings(config)
    rows = np.flatnonzero(strings.held_out) if strings.held_out.any() else np.arange(len(strings))
    chosen = np.random.default_rng(_ORDER_SEED).permutation(rows)[:num].tolist()
    return batch_of(strings, chosen, range(len(chosen)), 0, torch.device("cpu"))


def batch_of(strings: Strings, rows: Sequence[int], indices: range, step: int, device: torch.device) -> StringBatch:
    """Some strings as a batch."""
    ids, lengths, classes = (torch.from_numpy(array[rows].astype(np.int64)) for array in (strings.ids, strings.lengths, strings.classes))
    own = None if bool((classes < 0).any()) else classes.to(device)
    return StringBatch(ids.to(device), lengths.to(device), own, torch.arange(indices.start, indices.stop), step)
