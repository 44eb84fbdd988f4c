"""The samples of a run, step by step: the same ones for any number of processes and workers, and for a run that goes on."""

import logging
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vtok.data.sources import Skipped
from vtok.errors import DataError, PictureError, VtokError
from vtok.train.config import DataConfig, TrainConfig
from vtok.train.samples.batch import Batch
from vtok.train.samples.crop_order import SampleOrder, Schedule, Share, crop_rng
from vtok.train.samples.crop_readers import Crop, CropReader, open_crops
from vtok.train.samples.pictures import open_data

log = logging.getLogger(__name__)


class Batches:
    """For each step, the list of this process's parts of the global batch; made by `open_batches`.

    Args:
        samples: gives each sample by its number.
        schedule: which samples this process works on.
        workers: processes that read; 0 reads in this one.
        device: where the batches are wanted.
    """

    def __init__(self, samples: "Samples", schedule: Schedule, *, workers: int, device: torch.device) -> None:
        self.skipped = Skipped()  # broken pictures met so far, each once
        self.wait_s = 0.0  # seconds spent waiting for samples, in all
        self._samples = samples
        self._schedule = schedule
        self._workers = workers
        self._device = device
        self._loaded: Iterator[Part] | None = None  # nobody else refers to it, so that its processes end when it is dropped

    @property
    def num_pictures(self) -> int:
        """How many pictures the samples are cut from."""
        return len(self._samples.order.pictures)

    @property
    def autoencoder_digest(self) -> str | None:
        """Whose latents the batches hold: `latent_cache.autoencoder_digest` of that autoencoder; None where they hold none."""
        return self._samples.crops.autoencoder_digest

    def __len__(self) -> int:
        """Steps from the first to the last."""
        return max(0, self._schedule.stop - self._schedule.start)

    def __iter__(self) -> Iterator[list[Batch]]:
        """From the first step; one pass at a time.

        Raises:
            DataError: no picture can be read, or the data set changed.
        """
        if self._loaded is not None:
            raise ValueError("the last pass has not ended; one at a time, or close it")
        self._loaded = self._open()
        try:
            for step in range(self._schedule.start, self._schedule.stop):
                yield [self._batch(self._next(), indices, step) for indices in self._schedule.share.parts()]
        finally:
            self.close()

    def close(self) -> None:
        """End the processes that read, for a pass that was left before its end."""
        self._loaded = None

    def _open(self) -> Iterator["Part"]:
        loader = DataLoader(
            self._samples,
            batch_sampler=self._schedule,
            num_workers=self._workers,
            collate_fn=_as_it_is,
            pin_memory=self._device.type == "cuda",
            worker_init_fn=_leave_interrupts_to_the_parent,
            generator=torch.Generator(),  # its own, so that no draw of the run is spent on it
        )
        return iter(loader)

    def _next(self) -> "Part":
        if self._loaded is None:
            raise ValueError("this pass was closed")
        start = time.perf_counter()
        try:
            part = next(self._loaded)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise DataError(
                "a process that reads pictures was killed, perhaps for lack of memory; lower data.workers or data.memory_mb"
            ) from error
        finally:
            self.wait_s += time.perf_counter() - start
        if part.error is not None:
            raise part.error
        self._note(part.broken)
        return part

    def _note(self, broken: Sequence[tuple[str, str]]) -> None:
        known = {key for key, _ in self.skipped.pictures}
        for key, reason in broken:
            if key not in known:
                self.skipped.pictures.append((key, reason))
                log.warning("picture skipped (%d so far): %s", len(self.skipped), reason)

    def _batch(self, part: "Part", indices: range, step: int) -> Batch:
        pixels = part.pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2)  # (B, 3, S, S)
        images = pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        latents = None if part.latents is None else part.latents.to(self._device, non_blocking=True).float()
        captions = None if part.captions is None else tuple(part.captions)
        return Batch(images, latents, torch.arange(indices.start, indices.stop), step, captions)


class Part(NamedTuple):
    """What a process that reads hands over: samples still in 8 bits, and what went wrong; an error is raised where it is understood."""

    pixels: Tensor  # (B, S, S, 3) uint8
    latents: Tensor | None  # (B, C, h, w) float16
    captions: list[str] | None  # B of them
    broken: list[tuple[str, str]]  # key and reason of pictures newly found broken
    error: VtokError | None = None


class Samples(Dataset[Part]):
    """The samples of a run by their numbers; a broken picture is replaced by the next of the order that can be read.

    Args:
        crops: reads the pictures.
        order: which picture each sample shows.
        center: the square in the middle in place of a random one.
    """

    def __init__(self, crops: CropReader, order: SampleOrder, *, center: bool) -> None:
        self.crops = crops
        self.order = order
        self._center = center
        self._broken: dict[int, str] = {}  # picture -> reason

    def __getitems__(self, numbers: list[int]) -> Part:
        known = len(self._broken)
        try:
            crops = [self._crop(number) for number in numbers]
        except VtokError as error:
            return Part(torch.empty(0), None, None, [], error)
        broken = [(self.crops.source.key(picture), reason) for picture, reason in list(self._broken.items())[known:]]
        latents = [crop.latents for crop in crops if crop.latents is not None]
        captions = [crop.caption for crop in crops if crop.caption is not None]
        return Part(_stacked([crop.pixels for crop in crops]), _stacked(latents) if latents else None, captions or None, broken)

    def _crop(self, number: int) -> Crop:
        for picture in self.order.candidates(number):
            if picture in self._broken:
                continue
            try:
                if self._center:
                    return self.crops.center(picture)
                return self.crops.random(picture, crop_rng(self.order.seed, number))
            except PictureError as error:
                self._broken[picture] = str(error)
        broken = Skipped([(str(picture), reason) for picture, reason in self._broken.items()])
        raise DataError(f"{self.crops.source.name}: no picture could be read; {broken.summary()}")


def open_batches(
    config: DataConfig,
    train: TrainConfig,
    seed: int,
    *,
    start_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
    overfit: int | None = None,
    device: torch.device | str = "cpu",
) -> Batches:
    """Open the samples of a run.

    Sample n = step * batch_size + index shows picture n % (number of pictures) of its epoch's random order, cut by draws of (seed, n)
    alone: so they are the same for any number of processes and workers, and for a run that goes on at `start_step`.

    Args:
        seed: of the run.
        start_step: first step wanted; the last one is `train.steps` - 1.
        rank, world_size: of this process; it gets a contiguous slice of each step's samples, in `train.accumulate` parts.
        overfit: only the first so many pictures of the run's order, each as its unmirrored square in the middle.
        device: where the batches are wanted; pixels travel there in 8 bits.

    Raises:
        ConfigError: no path given, or sizes that do not divide.
        DataError: nothing to read there.
    """
    share = Share(train.batch_size, train.accumulate, rank, world_size)
    crops = open_crops(open_data(config, seed), config)
    order = SampleOrder(seed, crops.pictures)
    if overfit is not None:
        order = SampleOrder(seed, order.first(overfit))
    samples = Samples(crops, order, center=overfit is not None)
    return Batches(samples, Schedule(share, start_step, train.steps), workers=config.workers, device=torch.device(device))


def _stacked(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


def _as_it_is(part: Any) -> Any:
    return part


def _leave_interrupts_to_the_parent(worker: int) -> None:  # noqa: ARG001 - the DataLoader gives it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
