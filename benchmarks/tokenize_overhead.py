"""What does `vtok tokenize` cost beside its reading and its model?

    python -m benchmarks.tokenize_overhead DATA --pictures 2000 -o results/tokenize_overhead.json

Turns the first pictures of a data set into a shard of the default tokenizer's strings, some rounds in turn with the reading alone (views,
encoded by nothing) and with the model alone (the same views, in memory, in the same batches). `overhead` is what the whole takes beyond the
slower of the two, as a share of it, medians over the rounds; opening the data set and writing the shard are in the whole.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.record import head, report
from vtok.data.eight_bit import from_eight_bit
from vtok.data.sources import Subset
from vtok.data.sources.open import Part, open_parts
from vtok.data.token_shards.format import TokenSettings
from vtok.generate.tokenize.shard import Speed, batches, make_shard, read_all
from vtok.generate.tokenize.work import settings_of
from vtok.tokenizers.base import Tokenizer
from vtok.weights import load_tokenizer


@dataclass(frozen=True)
class FirstPictures(Part):
    """The first pictures of a part."""

    num_pictures: int = 1

    def open(self) -> Subset:
        source = super().open()
        return Subset(source, range(min(self.num_pictures, len(source))), name=self.name)


def whole(part: Part, settings: TokenSettings, tokenizer: Tokenizer, speed: Speed) -> None:
    """A shard, as `vtok tokenize` makes it."""
    with tempfile.TemporaryDirectory() as folder:
        make_shard(part, 0, settings, tokenizer, Path(folder) / "shard.parquet", speed)


def reading(part: Part, settings: TokenSettings, tokenizer: Tokenizer, speed: Speed) -> list[torch.Tensor]:
    """All batches of views (B, 3, H, W) in [0, 1]."""
    read = batches(read_all(part.open(), settings, tokenizer.spec.input_size, speed), speed.batch_size)
    return [from_eight_bit(np.stack(batch.pixels)) for batch in read if batch.pixels]


def model(views: list[torch.Tensor], tokenizer: Tokenizer) -> None:
    """The model on views that are in memory."""
    with torch.inference_mode():
        for batch in views:
            tokenizer.encode(batch)


def main() -> None:
    """Parse options, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a folder, tars or parquet tables")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    tokenizer, speed = load_tokenizer(), Speed(workers=options.workers)
    (first, *_) = open_parts(options.data, part_size=options.pictures)
    part = FirstPictures(**vars(first), num_pictures=options.pictures)
    settings = settings_of(tokenizer, [part], source=options.data, model="default", views={"views": options.views})
    views = reading(part, settings, tokenizer, speed)
    model(views[:2], tokenizer)
    ways = {
        "whole": lambda: whole(part, settings, tokenizer, speed),
        "reading": lambda: reading(part, settings, tokenizer, speed),
        "model": lambda: model(views, tokenizer),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, work in ways.items():
            begun = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - begun)
    rounds = zip(*seconds.values(), strict=True)
    num = sum(map(len, views))
    figures = {
        "strings": num,
        "workers": options.workers,
        "strings_per_s": {name: round(num / median(own), 2) for name, own in seconds.items()},
        "seconds": {name: [round(second, 3) for second in own] for name, own in seconds.items()},
        "overhead": round(median(all_of_it / max(read, encoded) - 1 for all_of_it, read, encoded in rounds), 4),
    }
    report(head("tokenize_overhead") | figures, options.output)


if __name__ == "__main__":
    main()
