"""Pictures of curves."""

import math

import pytest

from vtok.errors import DataError
from vtok.eval.curves.plot import draw, lines_of, spread_out

pytest.importorskip("matplotlib", reason="needs the extra `eval`")


def record(name, points, kind="model", **more):
    """A record with one row a point (bits per pixel, PSNR)."""
    rows = [{"tokens": 2**i, "bpp": bpp, "metrics": {"psnr": {"value": value}}} for i, (bpp, value) in enumerate(points)]
    return {"subject": {"kind": kind, "name": name} | more, "rows": rows}


MODEL = record("photo64", [(0.1, 20.0), (0.2, 23.0), (0.4, 25.0)])
CODEC = record("jpeg", [(0.2, 22.0), (0.4, 26.0)], "codec", title="JPEG")


def test_points_are_those_of_the_rows():
    (line,) = lines_of([MODEL], "psnr", "bpp")
    assert (list(line.points), line.label) == ([(0.1, 20.0), (0.2, 23.0), (0.4, 25.0)], "photo64")
    assert lines_of([CODEC], "psnr", "bpp")[0].label == "JPEG"


def test_over_tokens_codecs_are_left_out():
    codec = CODEC | {"rows": [{key: value for key, value in row.items() if key != "tokens"} for row in CODEC["rows"]]}
    assert [line.label for line in lines_of([MODEL, codec], "psnr", "tokens")] == ["photo64"]


def test_values_that_cannot_be_drawn_are_left_out():
    (line,) = lines_of([record("a", [(0.1, math.inf), (0.2, None), (0.4, 3.0)])], "psnr", "bpp")
    assert list(line.points) == [(0.4, 3.0)]
    assert lines_of([MODEL], "lpips", "bpp") == []
    assert lines_of([record("vae", [(None, 30.0)])], "psnr", "bpp") == []


@pytest.mark.parametrize("records", [[MODEL], [MODEL, CODEC], [record("one", [(0.1, 20.0)])]])
@pytest.mark.parametrize("x", ["bpp", "tokens"])
def test_a_picture_is_drawn(records, x):
    picture = draw(records, metrics=None, x=x, title="a title")
    assert picture.shape[2] == 3
    assert picture.std() > 5


def test_six_figures_have_two_rows_of_panels():
    names = ["psnr", "ssim", "lpips", "dists", "rfid", "kid"]
    rows = [{"tokens": n, "bpp": n / 10, "metrics": {name: {"value": n / 20} for name in names}} for n in (1, 2)]
    wide = draw([{"subject": {"kind": "model", "name": "m"}, "rows": rows}], metrics=None, x="bpp", title="")
    assert wide.shape[0] > draw([MODEL], metrics=None, x="bpp", title="").shape[0]


def test_nothing_to_draw_is_an_error():
    with pytest.raises(DataError, match="no record has lpips"):
        draw([MODEL], metrics=["lpips"], x="bpp", title="")


def test_labels_stay_in_order_and_keep_their_distance():
    assert spread_out([50.0, 10.0], 13) == [50.0, 10.0]
    found = spread_out([10.0, 11.0, 12.0], 13)
    assert found == pytest.approx([-2.0, 11.0, 24.0])
