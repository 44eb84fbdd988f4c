"""How much of its codebooks does a model use at every position, on random tiles of pictures?

    python -m benchmarks.codebook_usage PICTURES --model MODEL -o results/NAME.json

Each picture gives the same number of tiles. A grid of tiles is laid over the picture at a random place, all of the grid is encoded, and
tiles are drawn from it; further grids follow until there are enough. No tile is counted twice: a picture too small for its share leaves
the rest to the next. Of a large picture a grid covers at most 1024 x 1024 pixels.

`usage` is the share of the codes that occur; `entropy_bits` is of their shares among the tiles counted, so a little low where tiles are
few for the number of codes.
"""

import argparse
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from benchmarks.pictures import Pictures, add_options
from benchmarks.record import Row, head, model_facts, report
from vtok.codec.decompress import Pixels
from vtok.data.eight_bit import from_eight_bit
from vtok.eval.codes.codebook import CodebookStatistics, CodebookUse
from vtok.tokenizers.base import Tokenizer, Tokens
from vtok.weights import load

TILES = 40_000
LARGEST_SIDE = 1024  # pixels that are encoded together
FIGURES = ("usage", "entropy_bits")


def count(pictures: Iterable[Pixels], num_pictures: int, tokenizer: Tokenizer, num_tiles: int, seed: int) -> CodebookStatistics:
    """Counts over `num_tiles` tiles, or over all there are places for, spread evenly over the pictures; those under a tile give none."""
    statistics = CodebookStatistics(tokenizer.spec.codebook_sizes, tokenizer.spec.max_tokens)
    done = 0
    for number, pixels in enumerate(pictures):
        due = num_tiles * (number + 1) // num_pictures - done
        for tokens in random_tiles(pixels, tokenizer, due, np.random.default_rng((seed, number))):
            statistics.update(tokens.ids, tokens.lengths)
            done += len(tokens)
    return statistics


def random_tiles(pixels: Pixels, tokenizer: Tokenizer, num_tiles: int, rng: np.random.Generator) -> Iterator[Tokens]:
    """Strings of `num_tiles` tiles at random places of a picture (H, W, 3), or of as many as there are places; by grids."""
    left = num_tiles
    for corner in _corners(pixels.shape[:2], tokenizer.spec.input_size, rng):
        if not left:
            return
        tokens = tokenizer.encode_grid(from_eight_bit(_grid_at(pixels, corner, tokenizer.spec.input_size, rng)))
        drawn = tokens[torch.from_numpy(rng.permutation(len(tokens))[:left])]
        left -= len(drawn)
        yield drawn


def rows_of(use: CodebookUse) -> list[Row]:
    """A row for each codebook of each position, counted from 1."""
    return [
        {"position": position + 1, "codebook": k + 1, "usage": round(float(usage), 6), "entropy_bits": round(float(bits), 4)}
        for position, values in enumerate(zip(use.usage, use.entropy_bits, strict=True))
        for k, (usage, bits) in enumerate(zip(*values, strict=True))
    ]


def _corners(size: tuple[int, ...], tile: tuple[int, int], rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Where grids begin, top and left, in random order: the places within a tile that leave room for one."""
    tops, lefts = (min(side, extent - side + 1) for extent, side in zip(size, tile, strict=True))
    if min(tops, lefts) > 0:
        yield from (divmod(int(place), lefts) for place in rng.permutation(tops * lefts))


def _grid_at(pixels: Pixels, corner: tuple[int, int], tile: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """The whole tiles from a corner on; of a large picture a part at random."""
    parts = []
    for extent, first, side in zip(pixels.shape[:2], corner, tile, strict=True):
        there = (extent - first) // side
        taken = min(there, max(1, LARGEST_SIDE // side))
        start = first + side * int(rng.integers(there - taken + 1))
        parts.append(slice(start, start + side * taken))
    return np.ascontiguousarray(pixels[parts[0], parts[1]])


def main() -> None:
    """Parse options, count, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--model", help="a name, a model folder or a hub id; the default weights when left out")
    parser.add_argument("--tiles", type=int, default=TILES, metavar="N", help="how many; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the places")
    parser.add_argument("--threads", type=int, help="of the processor; PyTorch's choice when left out")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    tokenizer = load(options.model)
    pictures = Pictures(options.data, split=options.split, count=min(options.tiles, options.pictures or options.tiles))
    pixels = (sample.pixels for sample in pictures)
    statistics = count(pixels, len(pictures), tokenizer, options.tiles, options.seed)
    use = statistics.compute()
    rows = rows_of(use)
    facts = {
        "model": model_facts(tokenizer, options.model),
        "data": pictures.facts(),
        "codebook_sizes": tokenizer.spec.codebook_sizes,
        "tiles": use.num_strings,
        "seed": options.seed,
        "min": {name: min(row[name] for row in rows) for name in FIGURES},
        "mean": {name: round(sum(row[name] for row in rows) / len(rows), 6) for name in FIGURES},
        "positions": rows,
    }
    report(head("codebook_usage") | facts, options.output)


if __name__ == "__main__":
    main()
