"""The pictures of a run: read in a seeded random order, large ones scaled down, broken ones skipped and named."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from vtok.data.crops import resize
from vtok.data.sources import Skipped, Source, open_source, readable
from vtok.data.sources.cache import CacheSource
from vtok.errors import ConfigError, DataError
from vtok.train.config import DataConfig

SYNTHETIC_SIZE = (256, 256)


@dataclass(frozen=True)
class Pictures:
    """(H, W, 3) uint8 pictures of a source, in one random order; each pass reads them anew, but for those that the first found broken."""

    source: Source
    order: tuple[int, ...]
    max_side: int
    broken: set[str] = field(default_factory=set)  # keys

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[np.ndarray]:
        skipped = Skipped()
        left = [index for index in self.order if self.source.key(index) not in self.broken]
        for sample in readable(self.source, left, skipped=skipped):
            yield scaled_down(sample.pixels, self.max_side)
        self.broken.update(key for key, _ in skipped.pictures)


def open_pictures(config: DataConfig, seed: int) -> Pictures:
    """The pictures that a run's [data] section names, in a random order.

    Raises:
        ConfigError: no path given.
        DataError: nothing to read there.
    """
    source = open_data(config, seed)
    order = np.random.default_rng(seed).permutation(len(source))
    return Pictures(source, tuple(order.tolist()), config.max_side)


def open_data(config: DataConfig, seed: int) -> Source:
    """The data set that a run's [data] section names.

    Args:
        seed: of synthetic pictures.

    Raises:
        ConfigError: no path given, or captions wanted of a cache.
        DataError: nothing to read there, or captions wanted where none are.
    """
    if not config.path and config.kind != "synthetic":
        raise ConfigError("data.path is empty: say where the pictures are, for example --set data.path=FOLDER")
    if config.kind == "tokens":
        raise ConfigError(f"{config.path} holds strings of tokens, not pictures")
    source = open_source(
        config.path,
        kind=config.kind,
        split=config.split,
        captions=config.captions,
        seed=seed,
        num_synthetic=config.num_synthetic,
        synthetic_size=SYNTHETIC_SIZE,
    )
    if config.captions:
        _check_captions(source)
    return source


def _check_captions(source: Source) -> None:
    if isinstance(source, CacheSource):
        raise ConfigError(f"data.captions is true, but {source.name} is a cache, which keeps no captions; train on the pictures themselves")
    if not source.has_captions:
        raise DataError(f"{source.name}: data.captions is true, but no picture has a caption; put NAME.txt beside NAME.jpg, say")


def scaled_down(pixels: np.ndarray, max_side: int) -> np.ndarray:
    """A picture with its short side brought down to `max_side`; as it is where that is 0 or the side not longer.

    Args:
        pixels: (H, W, 3) uint8.
    """
    height, width = pixels.shape[:2]
    short = min(height, width)
    if not max_side or short <= max_side:
        return pixels
    return resize(pixels, round(height * max_side / short), round(width * max_side / short))
