"""Rate and distortion of models and codecs as one picture, a panel for each figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vtok.errors import DataError
from vtok.eval.pairs.measures import TABLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Across = Literal["bpp", "tokens"]
_AXES: Mapping[Across, str] = {"bpp": "bits per pixel of the whole file", "tokens": "tokens of a string"}
_MODELS = ("#c4302b", "#e08a00", "#8b3fa0", "#0a7d6c", "#5a6b1f", "#b03a78")
_CODECS = {"jpeg": "#7a7a7a", "jpeg2000": "#a58a6a", "webp": "#6d8fb3", "avif": "#2f5d8a", "jxl": "#17364f"}
_OTHER_CODEC = "#444444"
_COLUMNS = 3
_WIDTH, _HEIGHT, _DPI = 4.5, 4.0, 150  # inches of a panel
_FONT, _GAP = 10, 13  # points
_TICKS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)  # bits per pixel


@dataclass(frozen=True)
class Line:
    """One curve of a panel: points (x, y) by rising x, and its name at the end."""

    points: Sequence[tuple[float, float]]
    label: str
    colour: str
    width: float


def draw(records: Sequence[Mapping[str, Any]], *, metrics: Sequence[str] | None, x: Across, title: str) -> np.ndarray:
    """The picture (H, W, 3) uint8 of records of `vtok eval` and `vtok bench-codecs`.

    Args:
        metrics: which figures; None for those of the first record that have a value somewhere.
        x: what the curves are drawn over; codecs have no tokens and are left out there.
        title: above all panels.

    Raises:
        DataError: none of the records has any of the figures.
        MissingExtraError: matplotlib is not installed.
    """
    from vtok.eval.codes.codebook_sheet import check_drawable

    check_drawable()
    import matplotlib as mpl

    names = list(records[0]["rows"][0]["metrics"]) if metrics is None else list(metrics)
    panels = {name: lines for name in names if (lines := lines_of(records, name, x))}
    if not panels:
        raise DataError(f"nothing to draw: no record has {', '.join(names)} over {_AXES[x]}")
    with mpl.rc_context():
        mpl.rcdefaults()  # a style of the user's may have white letters
        return _picture(panels, x, title)


def lines_of(records: Sequence[Mapping[str, Any]], metric: str, x: Across) -> list[Line]:
    """The curves of one figure; values that are missing or infinite are left out, and so are records without any."""
    found, models = [], 0
    for record in records:
        subject = record["subject"]
        codec = subject["kind"] == "codec"
        colour = _CODECS.get(subject["name"], _OTHER_CODEC) if codec else _MODELS[models % len(_MODELS)]
        models += not codec
        values = ((row.get(x), row["metrics"].get(metric, {}).get("value")) for row in record["rows"])
        points = sorted({(place, value) for place, value in values if place and value is not None and math.isfinite(value)})
        if points:
            found.append(Line(points, subject.get("title", subject["name"]), colour, 1.1 if codec else 1.8))
    return found


def spread_out(heights: Sequence[float], gap: float) -> list[float]:
    """The nearest heights, in least squares and the same order, whose neighbours are at least `gap` apart (isotonic regression)."""
    order = sorted(range(len(heights)), key=lambda place: -heights[place])
    blocks: list[list[float]] = []  # of labels that touch; the mean of one is where it lies
    for number, place in enumerate(order):
        blocks.append([heights[place] + number * gap])
        while len(blocks) > 1 and mean(blocks[-2]) < mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    levels = [mean(block) for block in blocks for _ in block]
    found = [0.0] * len(heights)
    for number, (place, level) in enumerate(zip(order, levels, strict=True)):
        found[place] = level - number * gap
    return found


def _picture(panels: Mapping[str, Sequence[Line]], x: Across, title: str) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 2 if len(panels) == 4 else min(len(panels), _COLUMNS)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows + 0.4), dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    for number, (name, lines) in enumerate(panels.items(), 1):
        _panel(figure.add_subplot(rows, columns, number), name, lines, x)
    figure.suptitle(title, fontsize=_FONT)
    height = figure.get_size_inches()[1]
    edges = {"left": 0.55 / (_WIDTH * columns), "right": 1 - 0.95 / (_WIDTH * columns), "top": 1 - 0.8 / height, "bottom": 0.55 / height}
    figure.subplots_adjust(**edges, wspace=0.48, hspace=0.45)
    for axes, lines in zip(figure.axes, panels.values(), strict=True):
        _label(figure, axes, lines)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _panel(axes: Axes, name: str, lines: Sequence[Line], x: Across) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    for line in lines:
        axes.plot(*zip(*line.points, strict=True), color=line.colour, linewidth=line.width, marker="o", markersize=2.5)
    axes.set_xscale("log")
    ticks = _TICKS if x == "bpp" else [2**power for power in range(0, 17, 2)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(_AXES[x], fontsize=_FONT)
    axes.set_title(_headed(name), fontsize=_FONT)
    axes.tick_params(labelsize=_FONT - 1)
    axes.grid(alpha=0.25, which="major")
    axes.spines[["top", "right"]].set_visible(False)


def _headed(name: str) -> str:
    if name not in TABLE:
        return name
    return f"{TABLE[name].label} ({'higher' if TABLE[name].higher_is_better else 'lower'} is better)"


def _label(figure: Figure, axes: Axes, lines: Sequence[Line]) -> None:
    """Write each name right of its curve's end, moved where two would touch."""
    points = 72 / figure.dpi
    heights = [points * float(axes.transData.transform(line.points[-1])[1]) for line in lines]
    for line, height, level in zip(lines, heights, spread_out(heights, _GAP), strict=True):
        axes.annotate(
            line.label,
            line.points[-1],
            (6, level - height),
            textcoords="offset points",
            color=line.colour,
            va="center",
            annotation_clip=False,
            fontsize=_FONT - 1,
        )
