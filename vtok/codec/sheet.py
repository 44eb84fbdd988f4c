"""A comparison as one picture: panels in a grid, the figures under each."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vtok.codec.compare import Comparison, Row
from vtok.codec.decompress import Pixels

_FONT_SIZE = 18
_LINE = 24
_MARGIN = 14
_SMALL = 128  # pixels: a longer side of at most half of it is shown enlarged
_PAPER, _INK = (247, 247, 247), (24, 24, 24)
_ASPECT = 1.5  # width to height that the sheet aims at


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture (h, w, 3) uint8 and the lines under it."""

    picture: Pixels
    lines: tuple[str, ...]


def draw(comparison: Comparison) -> Pixels:
    """One sheet (H, W, 3) uint8: the original, then each prefix with its tokens, bytes, bpp, PSNR and LPIPS under it."""
    first = Panel(_enlarged(comparison.original), _original_lines(comparison))
    panels = [first, *(Panel(_enlarged(row.shown), _row_lines(row, comparison.tiles)) for row in comparison.rows)]
    font = ImageFont.load_default(size=_FONT_SIZE)
    text_width = max(font.getlength(line) for panel in panels for line in panel.lines)
    width = _MARGIN + max(math.ceil(text_width), *(panel.picture.shape[1] for panel in panels))
    height = _MARGIN + len(first.lines) * _LINE + max(panel.picture.shape[0] for panel in panels)
    columns = _columns(len(panels), width / height)
    sheet = Image.new("RGB", (_MARGIN + columns * width, _MARGIN + math.ceil(len(panels) / columns) * height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, panel in enumerate(panels):
        left, top = _MARGIN + i % columns * width, _MARGIN + i // columns * height
        sheet.paste(Image.fromarray(panel.picture), (left, top))
        for k, line in enumerate(panel.lines):
            pen.text((left, top + panel.picture.shape[0] + k * _LINE + 4), line, fill=_INK, font=font)
    return np.asarray(sheet)


def _columns(count: int, cell_aspect: float) -> int:
    """How many columns bring the sheet near its aspect with few places left empty."""

    def fault(columns: int) -> float:
        rows = math.ceil(count / columns)
        return abs(math.log(cell_aspect * columns / rows / _ASPECT)) + (rows * columns - count) / count

    return min(range(1, count + 1), key=fault)


def _original_lines(comparison: Comparison) -> tuple[str, str]:
    height, width = comparison.size
    tiles = "1 tile" if comparison.tiles == 1 else f"{comparison.tiles:,} tiles"
    return f"original, {width} x {height} pixels", tiles + _scale_note(comparison)


def _row_lines(row: Row, tiles: int) -> tuple[str, str]:
    noun = "token" if row.num_bytes is not None else "latent"
    tokens = f"{row.tokens} {noun}{'s' * (row.tokens != 1)}" + (" a tile" if tiles > 1 else "")
    cost = "" if row.num_bytes is None or row.bpp is None else f", {row.num_bytes:,} bytes, {row.bpp:.3g} bpp"
    distance = "-" if row.lpips is None else f"{row.lpips:.3f}"
    quality = "equal" if math.isinf(row.psnr) else f"{row.psnr:.2f} dB"
    return f"{tokens}{cost}", f"PSNR {quality}, LPIPS {distance}"


def _scale_note(comparison: Comparison) -> str:
    stored, shown = max(comparison.size), max(comparison.original.shape[:2])
    if shown < stored:
        return f", shown at {100 * shown / stored:.0f} %"
    factor = _factor(comparison.original)
    return f", shown {factor} times as large" if factor > 1 else ""


def _enlarged(picture: Pixels) -> Pixels:
    factor = _factor(picture)
    return picture.repeat(factor, 0).repeat(factor, 1)


def _factor(picture: Pixels) -> int:
    longer: int = max(picture.shape[:2])
    return max(1, _SMALL // longer)
