"""The use of codebooks as one picture: their codes decoded alone, beside usage and entropy of each position."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vtok.data.crops import resize
from vtok.errors import MissingExtraError
from vtok.eval.codes.codebook import CodebookUse
from vtok.eval.codes.lone_codes import LoneCodes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CODEBOOKS = 8  # that a sheet has room for
# in pixels
_SMALLEST, _LARGEST = 64, 96  # longer sides of a code's picture as shown: enlarged to at least about the one, scaled down to the other
_GAP, _LABEL = 8, 26  # between pictures, and under each for two lines
_EDGE, _HEAD = 60, 84  # around panels, and over each row
_PANEL_WIDTH, _PANEL_HEIGHT = 620, 180  # the least of a panel's heights
_DPI = 100
_COLUMNS = 8
_SMALL_PRINT, _PRINT = 7, 9  # points
_PAPER, _BAR, _MAYBE, _DEAD = "#f7f7f7", "#2f5d8a", "#bcd0e4", "#c4302b"


def check_drawable() -> None:
    """Raise `MissingExtraError` where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtraError('a picture of the codes needs matplotlib; install it with: pip install "vtok[eval]"') from None


def draw(use: CodebookUse, rows: Sequence[LoneCodes], title: str) -> np.ndarray:
    """A sheet (H, W, 3) uint8 with a row for each codebook: its codes, dead ones framed; usage over entropy by position.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    check_drawable()
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()  # a style of the user's may have white letters
        return _sheet(use, [_Mosaic(row) for row in rows], title)


def _sheet(use: CodebookUse, mosaics: Sequence[_Mosaic], title: str) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = 3 * _EDGE + mosaics[0].width + _PANEL_WIDTH
    heights = [_HEAD + max(mosaic.height, 2 * _PANEL_HEIGHT + _EDGE) for mosaic in mosaics]
    figure = Figure(figsize=(width / _DPI, (sum(heights) + _EDGE) / _DPI), dpi=_DPI, facecolor=_PAPER)
    figure.text(_EDGE / 2 / width, 1 - 12 / (sum(heights) + _EDGE), title, va="top", fontsize=_PRINT + 2)
    top = _HEAD
    for mosaic, height in zip(mosaics, heights, strict=True):
        mosaic.draw(_axes(figure, _EDGE // 2, top, mosaic.width, mosaic.height))
        left, panel_height = 2 * _EDGE + mosaic.width, (height - _HEAD - _EDGE) // 2
        _draw_usage(_axes(figure, left, top, _PANEL_WIDTH, panel_height), use, mosaic.row.codebook)
        _draw_entropy(_axes(figure, left, top + panel_height + _EDGE, _PANEL_WIDTH, panel_height), use, mosaic.row.codebook)
        top += height
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


class _Mosaic:
    """The codes of one row as an array that is shown pixel by pixel."""

    def __init__(self, row: LoneCodes):
        self.row = row
        self._pictures = [_sized(picture) for picture in row.pictures]
        self._cell = tuple(extent + gap for extent, gap in zip(self._pictures[0].shape[:2], (_LABEL, _GAP), strict=True))
        self.height = self._cell[0] * math.ceil(len(self._pictures) / _COLUMNS)
        self.width = self._cell[1] * _COLUMNS

    def draw(self, axes: Axes) -> None:
        from matplotlib.colors import to_rgb
        from matplotlib.patches import Rectangle

        sheet = np.empty((self.height, self.width, 3), np.uint8)
        sheet[:] = np.rint(255 * np.array(to_rgb(_PAPER)))
        for place, (code, picture) in enumerate(zip(self.row.codes, self._pictures, strict=True)):
            top, left = (number * extent for number, extent in zip(divmod(place, _COLUMNS), self._cell, strict=True))
            height, width = picture.shape[:2]
            sheet[top : top + height, left : left + width] = picture
            label = "dead" if code.dead else f"{100 * code.share:.3g} %"
            axes.text(left, top + height + 1, f"{code.id}\n{label}", va="top", fontsize=_SMALL_PRINT, color=_DEAD if code.dead else "black")
            if code.dead:
                axes.add_patch(Rectangle((left, top), width - 1, height - 1, fill=False, edgecolor=_DEAD, linewidth=1.5))
        axes.imshow(sheet, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(self.row.described, loc="left", fontsize=_PRINT)


def _draw_usage(axes: Axes, use: CodebookUse, codebook: int) -> None:
    size = use.codebook_sizes[codebook]
    positions = np.arange(1, len(use.strings) + 1)
    axes.bar(positions, 100 * use.usage[:, codebook].numpy(), width=1, color=_BAR)
    reach = 100 * min(1.0, use.num_strings / size)
    axes.axhline(reach, color="black", linewidth=0.8, linestyle="--")
    axes.set_ylim(0, 1.08 * reach)
    axes.set_title(f"codes used, % of {size:,} (dashed: all that {use.num_strings:,} strings could use)", loc="left", fontsize=_PRINT)
    _finish(axes, positions)


def _draw_entropy(axes: Axes, use: CodebookUse, codebook: int) -> None:
    positions = np.arange(1, len(use.strings) + 1)
    measured, most = use.entropy_bits[:, codebook].numpy(), math.log2(use.codebook_sizes[codebook])
    highest = np.minimum(measured + use.entropy_shortfall[:, codebook].numpy(), most)
    axes.bar(positions, highest, width=1, color=_MAYBE)
    axes.bar(positions, measured, width=1, color=_BAR)
    axes.axhline(most, color="black", linewidth=0.8, linestyle="--")
    axes.set_ylim(0, 1.08 * most)
    axes.set_title("entropy in bits (pale: what few strings may hide; dashed: all codes evenly)", loc="left", fontsize=_PRINT)
    axes.set_xlabel("position", fontsize=_PRINT)
    _finish(axes, positions)


def _finish(axes: Axes, positions: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(0.5, len(positions) + 0.5)
    axes.tick_params(labelsize=_PRINT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)


def _axes(figure: Figure, left: int, top: int, width: int, height: int) -> Axes:
    """Axes at a place of the figure, in pixels from its upper left corner."""
    whole_width, whole_height = (round(inches * _DPI) for inches in figure.get_size_inches())
    return figure.add_axes(
        (left / whole_width, 1 - (top + height) / whole_height, width / whole_width, height / whole_height), facecolor=_PAPER
    )


def _sized(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    longer = max(height, width)
    if longer > _LARGEST:
        return resize(picture, max(1, round(height * _LARGEST / longer)), max(1, round(width * _LARGEST / longer)))
    factor = max(1, _SMALLEST // longer)
    return picture.repeat(factor, 0).repeat(factor, 1)
