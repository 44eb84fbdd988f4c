"""Squares of pictures for training: cut from decoded pictures, or from a cache together with their latents."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from vtok.data.crops import center_square, random_scale_crop
from vtok.data.files import shown_name
from vtok.data.sources import Sample, Source
from vtok.data.sources.cache import CacheSource, Stored
from vtok.errors import ConfigError, DataError, PictureError
from vtok.train.config import DataConfig
from vtok.train.samples.pictures import scaled_down

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Crop:
    """A square of a picture.

    Args:
        pixels: (S, S, 3) uint8.
        latents: (C, S / downsample, S / downsample) float16 of a frozen autoencoder over the whole picture, or None.
        caption: of the whole picture, where captions are wanted.
    """

    pixels: np.ndarray
    latents: np.ndarray | None = None
    caption: str | None = None


class CropReader(Protocol):
    """Cuts squares from the pictures of a source. It can be sent to other processes."""

    @property
    def source(self) -> Source:
        """Where the pictures are."""

    @property
    def pictures(self) -> Sequence[int]:
        """Indices in the source of those that squares can be cut from."""

    @property
    def autoencoder_digest(self) -> str | None:
        """Whose latents the squares come with, or None."""

    def random(self, picture: int, rng: np.random.Generator) -> Crop:
        """A square of random scale and place, mirrored or not.

        Raises:
            PictureError: the picture cannot be read, or has no caption where one is wanted.
        """

    def center(self, picture: int) -> Crop:
        """The square in the middle.

        Raises:
            PictureError: as of `random`.
        """


class PictureCrops:
    """Squares of decoded pictures, which are kept in memory while they fit.

    Args:
        source: the pictures.
        config: crop_size, scales, flip, captions, max_side and memory_mb are used.
    """

    autoencoder_digest: str | None = None

    def __init__(self, source: Source, config: DataConfig) -> None:
        self.source = source
        self.pictures = range(len(source))
        self._config = config
        self._kept: dict[int, Sample] = {}
        self._bytes_left = config.memory_mb * 10**6 // max(1, config.workers)  # each process that reads keeps its own

    def random(self, picture: int, rng: np.random.Generator) -> Crop:
        size, scales = self._config.crop_size, self._config.scales
        sample = self._read(picture)
        square = random_scale_crop(sample.pixels, size, scales=scales, rng=rng)
        mirrored = self._config.flip and rng.random() < 0.5
        return Crop(square[:, ::-1] if mirrored else square, caption=self._caption(sample))

    def center(self, picture: int) -> Crop:
        sample = self._read(picture)
        return Crop(center_square(sample.pixels, self._config.crop_size), caption=self._caption(sample))

    def _caption(self, sample: Sample) -> str | None:
        return sample.caption if self._config.captions else None

    def _read(self, picture: int) -> Sample:
        if picture in self._kept:
            return self._kept[picture]
        sample = self.source[picture]
        if self._config.captions and not sample.caption:
            raise PictureError(f"{shown_name(sample.key)}: has no caption")
        sample = replace(sample, pixels=scaled_down(sample.pixels, self._config.max_side))
        if sample.pixels.nbytes <= self._bytes_left:
            self._bytes_left -= sample.pixels.nbytes
            self._kept[picture] = sample
        return sample


class LatentCrops:
    """Squares of a cache's pictures with their latents: a variant drawn among those large enough, a place on whole latents.

    Args:
        source: the cache.
        size: side of the squares in pixels.

    Raises:
        ConfigError: the side is not a whole number of latents.
        DataError: no picture is so large.
    """

    def __init__(self, source: CacheSource, size: int) -> None:
        downsample = source.settings.downsample
        if size % downsample:
            raise ConfigError(f"data.crop_size {size} is not a multiple of the {downsample} pixels of a latent in {source.name}")
        self.source = source
        self.autoencoder_digest: str | None = source.settings.autoencoder_digest
        self._cells = size // downsample
        self.pictures = [index for index in range(len(source)) if self._large_enough(index)]
        if not self.pictures:
            raise DataError(f"{source.name}: no picture in this cache is as large as data.crop_size, {size} pixels a side; lower it")
        if num_small := len(source) - len(self.pictures):
            log.info("%d of %d pictures in %s are smaller than %d pixels a side and left out", num_small, len(source), source.name, size)

    def random(self, picture: int, rng: np.random.Generator) -> Crop:
        stored = self._large_enough(picture)
        draw_variant, draw_top, draw_left = rng.random(3)
        variant = stored[int(draw_variant * len(stored))]
        top = int(draw_top * (variant.rows - self._cells + 1))
        left = int(draw_left * (variant.cols - self._cells + 1))
        return self._cut(picture, variant, (top, left))

    def center(self, picture: int) -> Crop:
        variant = self._large_enough(picture)[0]
        return self._cut(picture, variant, ((variant.rows - self._cells) // 2, (variant.cols - self._cells) // 2))

    def _large_enough(self, picture: int) -> list[Stored]:
        return [stored for stored in self.source.stored(picture) if min(stored.rows, stored.cols) >= self._cells]

    def _cut(self, picture: int, variant: Stored, corner: tuple[int, int]) -> Crop:
        return Crop(*self.source.crop(picture, variant, corner, (self._cells, self._cells)))


def open_crops(source: Source, config: DataConfig) -> CropReader:
    """What cuts squares from a data set as the [data] section says.

    Raises:
        ConfigError, DataError: as of `LatentCrops`.
    """
    return LatentCrops(source, config.crop_size) if isinstance(source, CacheSource) else PictureCrops(source, config)
