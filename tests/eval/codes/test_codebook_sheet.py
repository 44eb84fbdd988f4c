"""The sheet of codebooks: what lies where."""

import sys

import numpy as np
import pytest
import torch

from vtok.errors import MissingExtraError
from vtok.eval.codes.codebook import CodebookStatistics
from vtok.eval.codes.codebook_sheet import check_drawable, draw
from vtok.eval.codes.lone_codes import Code, LoneCodes

RED, GREEN, BLUE = (255, 0, 0), (0, 200, 0), (0, 0, 200)
FRAME = (196, 48, 43)


def use(sizes=(4,)):
    statistics = CodebookStatistics(sizes, 3)
    statistics.update(torch.zeros(2, 3, len(sizes), dtype=torch.int64))
    return statistics.compute()


def lone(colours, size=(64, 64), codebook=0):
    codes = [Code(i, 0.5, dead=i > 1) for i in range(len(colours))]
    return LoneCodes(codebook, codes, [np.full((*size, 3), colour, np.uint8) for colour in colours], "codes")


def size_of(sheet, colour):
    """Height and width of what has a colour."""
    rows, cols = np.nonzero((sheet == colour).all(2))
    return rows.max() - rows.min() + 1, cols.max() - cols.min() + 1


@pytest.fixture(autouse=True)
def matplotlib():
    pytest.importorskip("matplotlib", reason="needs the extra `eval`")


@pytest.mark.parametrize(
    ("size", "shown"), [((64, 64), (64, 64)), ((16, 16), (64, 64)), ((20, 10), (60, 30)), ((256, 128), (96, 48)), ((80, 80), (80, 80))]
)
def test_pictures_are_shown_pixel_by_pixel_at_a_size_that_can_be_seen(size, shown):
    sheet = draw(use(), [lone([GREEN], size)], "title")
    assert sheet.dtype == np.uint8
    assert size_of(sheet, GREEN) == shown
    assert (sheet == GREEN).all(2).sum() == shown[0] * shown[1]


def test_codes_lie_in_rows_of_eight_and_dead_ones_are_framed():
    colours = [(10 * i, 100, 10) for i in range(10)]
    sheet = draw(use(), [lone(colours)], "title")
    places = [np.argwhere((sheet == colour).all(2)) for colour in colours]
    middles = [place.mean(0).round().astype(int) for place in places]
    assert [len({middle[axis] for middle in middles}) for axis in (0, 1)] == [2, 8]
    assert len(places[0]) == len(places[1]) == 64 * 64
    assert len(places[2]) < 64 * 64
    assert (sheet == FRAME).all(2).sum() > 8 * 4 * 55


def test_each_codebook_has_its_row():
    one = draw(use((4, 4)), [lone([RED])], "title")
    both = draw(use((4, 4)), [lone([RED]), lone([BLUE], codebook=1)], "title")
    assert both.shape[1] == one.shape[1]
    assert both.shape[0] > 1.7 * one.shape[0]
    assert np.nonzero((both == BLUE).all(2))[0].min() > np.nonzero((both == RED).all(2))[0].max()


def test_a_style_of_the_users_changes_nothing():
    import matplotlib as mpl

    plain = draw(use(), [lone([RED, BLUE])], "title")
    with mpl.rc_context({"text.color": "white", "font.family": "monospace"}):
        assert (draw(use(), [lone([RED, BLUE])], "title") == plain).all()
        assert mpl.rcParams["text.color"] == "white"


def test_without_matplotlib_the_install_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vtok\[eval\]"'):
        check_drawable()
