"""How good are JPEG, WebP and AVIF at the sizes of our own files?

    python -m benchmarks.anchors PICTURES --sizes results/linear64.json -o results/anchors.json

For every picture and every row of equal lengths in a result of `rate_distortion`: the highest quality number whose file has at most that
many bytes, found by bisection; where even the lowest number gives more, the file of the lowest number. `floor` in `mean` counts such
pictures. JPEG with 4:2:0 and optimised Huffman tables, WebP with method 6, AVIF with 4:2:0 and speed 6, all by Pillow. Figures as in
`rate_distortion`.
"""

import argparse
import io
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.pictures import add_options, from_options
from benchmarks.quality import Original
from benchmarks.record import Row, head, mean_rows, report
from vtok.eval.pairs.lpips import Lpips


@dataclass(frozen=True)
class Format:
    """How Pillow writes a picture, and which quality numbers there are."""

    name: str
    qualities: range
    settings: dict[str, Any]

    def encode(self, pixels: np.ndarray, quality: int) -> bytes:
        """The file of (H, W, 3) uint8 pixels."""
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, self.name, quality=quality, **self.settings)
        return stream.getvalue()


FORMATS = {
    "jpeg": Format("JPEG", range(1, 96), {"subsampling": "4:2:0", "optimize": True}),
    "webp": Format("WEBP", range(101), {"method": 6}),
    "avif": Format("AVIF", range(101), {"speed": 6, "subsampling": "4:2:0"}),
}


def curve(original: Original, form: Format, budgets: Sequence[int]) -> list[Row]:
    """A row for each budget in bytes: `wanted_bpp`, `floor` (1 or 0), `quality`, `bytes`, `bpp`, PSNR, SSIM, LPIPS."""
    num_pixels = original.pixels[..., 0].size

    @cache
    def data(quality: int) -> bytes:
        return form.encode(original.pixels, quality)

    @cache
    def figures(quality: int) -> Row:
        num_bytes = len(data(quality))
        decoded = np.asarray(Image.open(io.BytesIO(data(quality))).convert("RGB"))
        return {"quality": quality, "bytes": num_bytes, "bpp": round(8 * num_bytes / num_pixels, 6)} | original.figures(decoded)

    rows = []
    for budget in budgets:
        fitting = bisect_right(form.qualities, budget, key=lambda quality: len(data(quality)))
        wanted = {"wanted_bpp": round(8 * budget / num_pixels, 6), "floor": int(not fitting)}
        rows.append(wanted | figures(form.qualities[max(fitting - 1, 0)]))
    return rows


def budgets_of(result: Path) -> dict[str, list[int]]:
    """Bytes of the files of equal lengths in a result of `rate_distortion`, by picture."""
    pictures = json.loads(result.read_text())["pictures"]
    return {key: [row["bytes"] for row in table["equal"]] for key, table in pictures.items()}


def mean_curve(tables: Sequence[list[Row]]) -> list[Row]:
    """Means over pictures; `floor` is the number of pictures whose smallest file is larger than wanted."""
    return [row | {"floor": round(row["floor"] * len(tables))} for row in mean_rows(tables)]


def main() -> None:
    """Parse options, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--sizes", type=Path, required=True, help="a result of rate_distortion on the same pictures")
    parser.add_argument("--no-lpips", action="store_true", help="PSNR and SSIM only")
    options = parser.parse_args()
    budgets, pictures = budgets_of(options.sizes), from_options(options)
    lpips = None if options.no_lpips else Lpips()
    tables: dict[str, dict[str, list[Row]]] = {}
    for sample in pictures:
        if sample.key not in budgets:
            parser.error(f"{options.sizes} has no {sample.key}: it was made on other pictures")
        original = Original(sample.pixels, lpips)
        tables[sample.key] = {name: curve(original, form, budgets[sample.key]) for name, form in FORMATS.items()}
    mean = {name: mean_curve([table[name] for table in tables.values()]) for name in FORMATS}
    facts = {"sizes": options.sizes.name, "data": pictures.facts()}
    report(head("anchors") | facts | {"mean": mean, "pictures": tables}, options.output)


if __name__ == "__main__":
    main()
