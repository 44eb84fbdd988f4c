"""One shard: its pictures read by some threads while the tokenizer encodes those before them."""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from vtok.data.eight_bit import from_eight_bit
from vtok.data.sources import Source
from vtok.data.sources.base import Sample
from vtok.data.sources.open import Part
from vtok.data.token_shards.format import ShardFacts, TokenSettings
from vtok.data.token_shards.shard import Origin, write_shard
from vtok.data.views import middle, random_view, seen
from vtok.errors import PictureError
from vtok.tokenizers.base import Tokenizer


@dataclass
class Rates:
    """How long what took; the times of loader and model overlap.

    Args:
        num_views: encoded.
        reading_s: seconds of threads that read.
        encoding_s: seconds of the tokenizer.
        wall_s: seconds in all.
        workers: threads that read.
    """

    num_views: int = 0
    reading_s: float = 0.0
    encoding_s: float = 0.0
    wall_s: float = 0.0
    workers: int = 1

    @property
    def loader(self) -> float:
        """Views a second that the threads can read."""
        return self.num_views * self.workers / max(self.reading_s, 1e-9)

    @property
    def model(self) -> float:
        """Views a second that the tokenizer can encode."""
        return self.num_views / max(self.encoding_s, 1e-9)

    @property
    def both(self) -> float:
        """Views a second that became strings."""
        return self.num_views / max(self.wall_s, 1e-9)

    def add(self, other: "Rates") -> None:
        """Take in what another shard took."""
        self.num_views += other.num_views
        self.reading_s += other.reading_s
        self.encoding_s += other.encoding_s
        self.wall_s += other.wall_s


@dataclass(frozen=True)
class Speed:
    """What changes how fast a shard is made, and nothing in it.

    Args:
        batch_size: views encoded at once.
        workers: threads that read pictures.
    """

    batch_size: int = 64
    workers: int = 2


@dataclass
class Views:
    """The views of a picture, or why there are none."""

    origins: list[Origin] = field(default_factory=list)
    pixels: list[np.ndarray] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0


def make_shard(
    part: Part, number: int, settings: TokenSettings, tokenizer: Tokenizer, file: Path, speed: Speed
) -> tuple[ShardFacts, Rates]:
    """Read a part of a data set, encode it and write its shard.

    Raises:
        DataError: the part cannot be opened. Pictures that cannot be read are listed in the facts.
        OutputError: the shard cannot be written.
    """
    start, rates = time.perf_counter(), Rates(workers=speed.workers)
    source = part.open()
    origins: list[Origin] = []
    failed: list[tuple[str, str]] = []
    ids = [np.empty((0, settings.num_tokens, len(tokenizer.spec.codebook_sizes)), np.int64)]
    for read in batches(read_all(source, settings, tokenizer.spec.input_size, speed), speed.batch_size):
        rates.reading_s += read.seconds
        origins += read.origins
        failed += read.failed
        if read.pixels:
            ids.append(_encoded(read.pixels, settings.num_tokens, tokenizer, rates))
    facts = ShardFacts(settings=settings, number=number, part=part.name, failed=tuple(failed))
    write_shard(file, facts, origins, np.concatenate(ids))
    rates.num_views = len(origins)
    rates.wall_s = time.perf_counter() - start
    return facts, rates


def _encoded(pixels: list[np.ndarray], num_tokens: int, tokenizer: Tokenizer, rates: Rates) -> np.ndarray:
    start = time.perf_counter()
    device = next(iter(tokenizer.state_dict().values())).device
    with torch.inference_mode():
        tokens = tokenizer.encode(from_eight_bit(np.stack(pixels)).to(device), num_tokens)
        ids = tokens.ids[:, :num_tokens].cpu().numpy()
    rates.encoding_s += time.perf_counter() - start
    return ids


def read_all(source: Source, settings: TokenSettings, size: tuple[int, int], speed: Speed) -> Iterator[Views]:
    """All pictures in their order, read ahead by some threads."""
    classes = {} if settings.class_names is None else {name: number for number, name in enumerate(settings.class_names)}
    ahead = 2 * speed.batch_size
    with ThreadPoolExecutor(speed.workers) as pool:
        numbers = iter(range(len(source)))
        waiting: deque[Future[Views]] = deque()
        try:
            for index in numbers:
                waiting.append(pool.submit(_read, source, index, settings, size, classes))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read(source: Source, index: int, settings: TokenSettings, size: tuple[int, int], classes: dict[str, int]) -> Views:
    start, found = time.perf_counter(), Views()
    try:
        sample = source[index]
    except PictureError as error:
        found.failed.append((source.key(index), str(error)))
    else:
        label = classes[sample.key.split("/")[0]] if settings.classes == "folder" else sample.label
        _add_views(found, sample, label, settings, size)
    found.seconds = time.perf_counter() - start
    return found


def _add_views(found: Views, sample: Sample, label: int | None, settings: TokenSettings, size: tuple[int, int]) -> None:
    height, width = sample.pixels.shape[:2]
    for number in range(settings.views):
        view = middle((height, width), size)
        if number:
            view = random_view(
                (height, width),
                size,
                least_scale=settings.least_scale,
                mirror=settings.mirror,
                seed=settings.seed,
                key=sample.key,
                number=number,
            )
        box = (view.top, view.left, view.height, view.width)
        found.origins.append(Origin(sample.key, number, (height, width), box, view.mirrored, label, sample.caption))
        found.pixels.append(seen(sample.pixels, view, size))


def batches(reads: Iterator[Views], batch_size: int) -> Iterator[Views]:
    """Views gathered to at least `batch_size`, but for the last."""
    while group := list(islice(reads, 1)):
        while sum(len(read.pixels) for read in group) < batch_size and (more := list(islice(reads, 1))):
            group += more
        yield Views(
            [origin for read in group for origin in read.origins],
            [pixels for read in group for pixels in read.pixels],
            [entry for read in group for entry in read.failed],
            sum(read.seconds for read in group),
        )
