"""PSNR and LPIPS against bits per pixel: our curves and those of JPEG, WebP and AVIF.

    python -m benchmarks.plot results/linear64.json results/anchors.json -o docs/rate_distortion.png

Takes results of `rate_distortion` and `anchors`, told apart by what they say of themselves. Solid: lengths per tile; dashed: equal lengths.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = {"psnr": "PSNR in dB (higher is better)", "lpips": "LPIPS, AlexNet (lower is better)"}
OURS = ("#c4302b", "#e08a00", "#8b3fa0", "#0a7d6c")
ANCHORS = {"jpeg": ("JPEG", "#7a7a7a"), "webp": ("WebP", "#6d8fb3"), "avif": ("AVIF", "#2f5d8a")}
WIDTH, HEIGHT, DPI = 9.0, 4.4, 200  # inches; 100 pixels an inch at the 900 pixels of a page
FONT, GAP = 10, 13  # points
TICKS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1)  # bits per pixel
MARGINS = {"left": 0.045, "right": 0.87, "top": 0.84, "bottom": 0.13, "wspace": 0.42}  # labels stand right of each panel


@dataclass(frozen=True)
class Curve:
    """One line of a panel: rows by rising size, and a label at its end unless that is empty."""

    rows: Sequence[dict[str, float]]
    label: str
    colour: str
    style: str = "-"


def curves_of(results: Sequence[dict[str, Any]], labels: dict[str, str]) -> list[Curve]:
    """The curves of some results; `labels` gives models other names than their own."""
    curves = [Curve(_distinct(rows), *ANCHORS[name]) for result in _of(results, "anchors") for name, rows in result["mean"].items()]
    for colour, result in zip(OURS, _of(results, "rate_distortion"), strict=False):
        name = result["model"]["name"]
        curves.append(Curve(result["mean"]["equal"], "", colour, "--"))
        curves.append(Curve(result["mean"]["per_tile"], labels.get(name, name), colour))
    return curves


def draw(curves: Sequence[Curve], title: str, target: Path) -> None:
    """Write the picture with one panel a metric."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    mpl.rcParams.update({"font.size": FONT, "axes.spines.top": False, "axes.spines.right": False})
    figure, panels = pyplot.subplots(1, len(METRICS), figsize=(WIDTH, HEIGHT), dpi=DPI)
    for axes, metric in zip(panels, METRICS, strict=True):
        _panel(axes, curves, metric)
    figure.suptitle(title, fontsize=FONT)
    figure.subplots_adjust(**MARGINS)
    _label(panels, curves)
    figure.savefig(target)


def _panel(axes: "Axes", curves: Sequence[Curve], metric: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    for curve in curves:
        x, y = ([row[key] for row in curve.rows] for key in ("bpp", metric))
        width = 1.1 if curve.style == "--" else 1.8
        axes.plot(x, y, curve.style, color=curve.colour, linewidth=width, marker="o", markersize=2.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("bits per pixel of the whole file")
    axes.set_title(METRICS[metric], fontsize=FONT)
    axes.grid(alpha=0.25, which="major")


def _label(panels: Sequence["Axes"], curves: Sequence[Curve]) -> None:
    """Write each label right of its curve's end, moved where two would touch."""
    for axes, metric in zip(panels, METRICS, strict=True):
        figure = axes.get_figure()
        points = 72 / DPI if figure is None else 72 / figure.dpi
        ends = [(curve, curve.rows[-1]["bpp"], curve.rows[-1][metric]) for curve in curves if curve.label]
        heights = {curve.label: points * float(axes.transData.transform((x, y))[1]) for curve, x, y in ends}
        shifts = spread_out(heights, GAP)
        for curve, x, y in ends:
            offset = (6, shifts[curve.label] - heights[curve.label])
            axes.annotate(curve.label, (x, y), offset, textcoords="offset points", color=curve.colour, va="center", annotation_clip=False)


def spread_out(heights: dict[str, float], gap: float) -> dict[str, float]:
    """The nearest heights, in least squares and the same order, whose neighbours are at least `gap` apart (isotonic regression)."""
    labels = sorted(heights, key=lambda label: -heights[label])
    blocks: list[list[float]] = []  # of labels that touch; the mean of one is where it lies
    for place, label in enumerate(labels):
        blocks.append([heights[label] + place * gap])
        while len(blocks) > 1 and mean(blocks[-2]) < mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    levels = [mean(block) for block in blocks for _ in block]
    return {label: level - place * gap for place, (label, level) in enumerate(zip(labels, levels, strict=True))}


def _of(results: Sequence[dict[str, Any]], benchmark: str) -> list[dict[str, Any]]:
    return [result for result in results if result["benchmark"] == benchmark]


def _distinct(rows: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Without the sizes for which every picture has its smallest file again."""
    return list({row["bpp"]: row for row in rows}.values())


def main() -> None:
    """Parse options, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, help="JSON files; of other benchmarks than these two nothing is drawn")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a PNG")
    parser.add_argument("--label", action="append", default=[], metavar="MODEL=TEXT", help="what to call a model")
    parser.add_argument("--title", help="default: how many pictures of which folder")
    options = parser.parse_args()
    results = [json.loads(file.read_text()) for file in options.results]
    curves = curves_of(results, dict(text.split("=", 1) for text in options.label))
    if not curves:
        parser.error("none of these files has a curve")
    data = next(result["data"] for result in results if result["benchmark"] in ("anchors", "rate_distortion"))
    default = f"Mean over the {data['pictures']} pictures of {data['folder']}. Ours: solid with lengths per tile, dashed with equal lengths"
    draw(curves, options.title or default, options.output)


if __name__ == "__main__":
    main()
