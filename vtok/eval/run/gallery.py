"""The pictures that come out worst, at the median and best, at every length."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vtok.data.eight_bit import to_eight_bit
from vtok.eval.run.reconstructions import Reconstructions

_SIDE = 160  # pixels of the longer side of a shown picture
_MARGIN, _LINE, _FONT_SIZE = 8, 20, 14
_PAPER, _INK = (247, 247, 247), (24, 24, 24)


@dataclass(frozen=True, eq=False)
class GalleryRow:
    """A picture and what was made of it.

    Args:
        label: "worst", its figure and its name.
        pictures: (h, w, 3) uint8: the original, then each length.
    """

    label: str
    pictures: Sequence[np.ndarray]


def chosen(values: np.ndarray, *, higher_is_better: bool, each: int = 2) -> list[tuple[str, int]]:
    """Places in values (n,) of the worst, the median and the best, `each` of a kind, each place once."""
    order = np.argsort(values if higher_is_better else -values, kind="stable")
    middle = max(0, len(order) // 2 - each // 2)
    kinds = (("worst", order[:each]), ("median", order[middle : middle + each]), ("best", order[::-1][:each]))
    found: dict[int, str] = {}
    for kind, places in kinds:
        for place in places.tolist():
            found.setdefault(place, kind)
    return [(kind, place) for place, kind in found.items()]


def draw(rows: Sequence[GalleryRow], heads: Sequence[str]) -> np.ndarray:
    """A sheet (H, W, 3) uint8, one row a picture, its label above.

    Args:
        heads: over the columns.
    """
    shown = [[_fitted(picture) for picture in row.pictures] for row in rows]
    cell = max(picture.width for row in shown for picture in row) + _MARGIN
    heights = [max(picture.height for picture in row) + _LINE + _MARGIN for row in shown]
    sheet = Image.new("RGB", (_MARGIN + cell * len(heads), _LINE + _MARGIN + sum(heights)), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=_FONT_SIZE)
    for column, head in enumerate(heads):
        pen.text((_MARGIN + column * cell, 2), head, fill=_INK, font=font)
    top = _LINE
    for row, pictures, height in zip(rows, shown, heights, strict=True):
        pen.text((_MARGIN, top + 2), row.label, fill=_INK, font=font)
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (_MARGIN + column * cell, top + _LINE))
        top += height
    return np.asarray(sheet)


def _fitted(pixels: np.ndarray) -> Image.Image:
    """Scaled down to the side, or enlarged a whole number of times to about it."""
    image = Image.fromarray(pixels)
    longer = max(image.size)
    if longer <= _SIDE:
        factor = max(1, _SIDE // longer)
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    return image.resize([max(1, round(side * _SIDE / longer)) for side in image.size], Image.Resampling.LANCZOS)


def show(run: Reconstructions, kind: str, place: int, figure: str) -> GalleryRow:
    """A picture of a run, coded once more and decoded at all of its lengths.

    Args:
        place: among the pictures that could be read.
    """
    counts = [len(info["keys"]) for info in run.infos()]
    number = int(np.searchsorted(np.cumsum(counts), place, side="right"))
    (pictures,) = run.pictures.read([run.pictures.starts[number]])
    picture = pictures.readable[place - sum(counts[:number])]
    coded = run.coder.encode(picture.pixels[None], [picture.index], [picture.caption])
    decoded = [to_eight_bit(coded.decode(n))[0].permute(1, 2, 0).cpu().numpy() for n in run.lengths]
    return GalleryRow(f"{kind}: {picture.key}, {figure}", [picture.pixels, *decoded])
