"""How good are decoded pictures at how many bytes? Equal lengths and lengths per tile, at the same sizes, and files of wanted sizes.

    python -m benchmarks.rate_distortion PICTURES --model MODEL --bpp 0.02 0.05 0.10 0.20 -o results/NAME.json

Each picture is encoded once; for 1, 2, 4, ... tokens a tile it is decoded twice: with that length in every tile, and with lengths per
tile in a file of at most as many bytes. `rate_control` has what `vtok encode --bpp` makes of each number wanted. `bytes` and `bpp` are
those of the whole `.vtok` file, PSNR, SSIM and LPIPS (AlexNet, whole picture) those of the 8-bit output; `mean` has the means over
pictures of each picture's figures. LPIPS needs its trunk: VTOK_LPIPS_WEIGHTS.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from benchmarks.pictures import add_options, from_options
from benchmarks.quality import Original
from benchmarks.record import Row, head, mean_rows, model_facts, report
from vtok.codec import Rate, TokenFile, decode_file, file_size
from vtok.codec.compare import doubling
from vtok.codec.decompress import Pixels
from vtok.codec.layers import Ids, Lengths, trim
from vtok.codec.rate import Errors, lengths_for_bytes
from vtok.data.eight_bit import from_eight_bit
from vtok.eval.pairs.lpips import Lpips
from vtok.tokenizers.base import Tokenizer
from vtok.weights import load

Curves = dict[str, list[Row]]


@dataclass(frozen=True, eq=False)
class Encoded:
    """The tokens of one picture at full length, and what each prefix leaves undone in each tile."""

    tokenizer: Tokenizer
    size: tuple[int, int]
    ids: Ids
    errors: Errors

    def equal(self, tokens: int) -> TokenFile:
        """The file with `tokens` tokens in every tile."""
        return self._file(np.full(len(self.ids), tokens, np.int64))

    def per_tile(self, num_bytes: int) -> TokenFile:
        """The file of at most `num_bytes` bytes with tokens where they lower the error most.

        Raises:
            BudgetError: not even one token a tile fits.
        """
        spec = replace(self.tokenizer.spec, grid=None, scales=None)
        return self._file(lengths_for_bytes(self.errors, spec, partial(file_size, spec, self.size, False), num_bytes))

    def _file(self, lengths: Lengths) -> TokenFile:
        digest = bytes.fromhex(self.tokenizer.code_digest)[:4]
        return TokenFile(self.tokenizer.spec, digest, self.size, False, lengths, trim(self.ids, lengths))


def encode(pixels: Pixels, tokenizer: Tokenizer) -> Encoded:
    """Encode a picture (H, W, 3) as the codec does, its edges repeated up to whole tiles."""
    height, width = tokenizer.spec.input_size
    padded = np.pad(pixels, ((0, -pixels.shape[0] % height), (0, -pixels.shape[1] % width), (0, 0)), mode="edge")
    tokens, errors = tokenizer.encode_grid_with_errors(from_eight_bit(padded))
    return Encoded(tokenizer, pixels.shape[:2], tokens.ids.numpy(), errors.numpy())


def curves(pixels: Pixels, tokenizer: Tokenizer, lengths: Sequence[int], lpips: Lpips | None, *, wanted: Sequence[float] = ()) -> Curves:
    """Rows of `equal` lengths and of lengths `per_tile`, row by row of one size; those of `rate_control` where sizes are wanted.

    Args:
        lengths: tokens of a tile.
        wanted: bits per pixel.

    Raises:
        BudgetError: a wanted size in which not even one token a tile fits.
    """
    original, encoded = Original(pixels, lpips), encode(pixels, tokenizer)
    table: Curves = {"equal": [], "per_tile": []}
    for tokens in lengths:
        equal = encoded.equal(tokens)
        row = measure(equal, tokenizer, original)
        per_tile = encoded.per_tile(equal.num_bytes)
        same = np.array_equal(per_tile.lengths, equal.lengths)
        table["equal"].append(row)
        table["per_tile"].append(row if same else measure(per_tile, tokenizer, original))
    return table | ({"rate_control": wanted_curve(original, encoded, wanted)} if wanted else {})


def wanted_curve(original: Original, encoded: Encoded, wanted: Sequence[float]) -> list[Row]:
    """A row for each of the bits per pixel `wanted`, with that number as `wanted_bpp`: the file that the codec's rate control makes.

    Raises:
        BudgetError: not even one token a tile fits.
    """
    budgets = {bpp: Rate(bpp=bpp).budget(encoded.size) or 0 for bpp in wanted}
    return [{"wanted_bpp": bpp} | measure(encoded.per_tile(budget), encoded.tokenizer, original) for bpp, budget in budgets.items()]


def measure(file: TokenFile, tokenizer: Tokenizer, original: Original) -> Row:
    """What a file costs and how near its picture comes: mean tokens a tile, bytes, bpp, PSNR, SSIM, LPIPS."""
    num_bytes, num_pixels = len(file.to_bytes()), original.pixels[..., 0].size
    cost = {"tokens": round(float(file.lengths.mean()), 4), "bytes": num_bytes, "bpp": round(8 * num_bytes / num_pixels, 6)}
    return cost | original.figures(decode_file(file, tokenizer))


def main() -> None:
    """Parse options, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--model", help="a name, a model folder or a hub id; the default weights when left out")
    parser.add_argument("--lengths", type=int, nargs="+", metavar="TOKENS", help="default: 1, 2, 4, ... and all")
    parser.add_argument("--bpp", type=float, nargs="+", default=(), help="also files of at most so many bits per pixel")
    parser.add_argument("--no-lpips", action="store_true", help="PSNR and SSIM only")
    options = parser.parse_args()
    tokenizer, pictures = load(options.model), from_options(options)
    lengths = options.lengths or doubling(tokenizer.spec)
    lpips = None if options.no_lpips else Lpips()
    tables = {sample.key: curves(sample.pixels, tokenizer, lengths, lpips, wanted=options.bpp) for sample in pictures}
    kinds = next(iter(tables.values()))
    mean = {kind: mean_rows([table[kind] for table in tables.values()]) for kind in kinds}
    facts = {"model": model_facts(tokenizer, options.model), "data": pictures.facts()}
    report(head("rate_distortion") | facts | {"mean": mean, "pictures": tables}, options.output)


if __name__ == "__main__":
    main()
