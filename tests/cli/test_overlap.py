"""Tiles that overlap, from the options to the picture, with a tokenizer that sees each tile alone."""

import numpy as np
import pytest
from PIL import Image

from tests.codec.toy import ToyTokenizer
from vtok.codec.container import read


@pytest.fixture
def toy(monkeypatch):
    """The model of all commands: tiles of 8 pixels."""
    tokenizer = ToyTokenizer()
    monkeypatch.setattr("vtok.weights.load", lambda *_, **__: tokenizer)
    monkeypatch.setattr("vtok.weights.load_by_digest", lambda _: tokenizer)
    return tokenizer


@pytest.fixture
def coded(vtok, photo, toy):  # noqa: ARG001 - the fixture stands in for the model
    """`photo`, 50 x 35 pixels, in 10 columns and 7 rows of tiles that overlap by 3."""
    path = photo.with_suffix(".vtok")
    assert vtok("encode", photo, "--overlap", 3).code == 0
    return path


def test_the_overlap_asked_for_is_in_the_file(coded):
    file = read(coded)
    assert (file.overlap, file.grid) == (3, (7, 10))


def test_without_the_option_the_model_decides(vtok, photo, toy):
    toy.overlap = 2
    assert vtok("encode", photo, "--json").records[0]["overlap"] == 2
    assert read(photo.with_suffix(".vtok")).overlap == 2
    assert vtok("encode", photo, "--overlap", 0, "--json").records[0]["overlap"] == 0


def test_pictures_of_one_tile_have_none(vtok, toy, tmp_path):
    toy.overlap = 2
    Image.new("RGB", (8, 6), "teal").save(tmp_path / "small.png")
    assert vtok("encode", tmp_path / "small.png", "--json").records[0]["overlap"] == 0


def test_whole_pictures_have_none(vtok, photo, toy):
    toy.overlap = 2
    assert vtok("encode", photo, "--whole", "--json").records[0]["overlap"] == 0


def test_bytes_are_never_exceeded(vtok, photo, toy):  # noqa: ARG001
    out = photo.with_name("p.vtok")
    record = vtok("encode", photo, "-o", out, "--overlap", 3, "--bytes", 200, "--json").records[0]
    assert out.stat().st_size == record["bytes"] <= 200
    assert record["overlap"] == 3


def test_info_shows_it(vtok, coded):
    assert vtok("info", coded, "--json").records[0]["overlap"] == 3
    assert "7 rows, 10 columns of 8 x 8, overlapping by 3 pixels\n" in vtok("info", coded).out.decode()


def test_info_says_nothing_where_there_is_none(vtok, encoded):
    assert "overlap" not in vtok("info", encoded).out.decode()


def test_the_picture_comes_back(vtok, coded, photo, tmp_path):
    assert vtok("decode", coded, "-o", tmp_path / "back.png").code == 0
    source, decoded = (np.asarray(Image.open(path)).astype(float) for path in (photo, tmp_path / "back.png"))
    assert decoded.shape == source.shape
    assert np.abs(decoded - source).mean() < 8


def test_a_truncated_file_keeps_it(vtok, coded, tmp_path):
    assert vtok("truncate", coded, "-o", tmp_path / "short.vtok", "--tokens", 2).code == 0
    assert read(tmp_path / "short.vtok").overlap == 3
    assert vtok("decode", tmp_path / "short.vtok", "-o", tmp_path / "short.png").code == 0


def test_compare_takes_it(vtok, photo, toy, tmp_path):  # noqa: ARG001
    (record,) = vtok("compare", photo, "-o", tmp_path / "sheet.png", "--lengths", "2", "--overlap", 3, "--json").records
    assert record["tiles"] == 70


@pytest.mark.parametrize("command", ["encode", "compare"])
class TestWhatIsRefused:
    def test_more_than_half_a_tile(self, vtok, photo, toy, tmp_path, command):  # noqa: ARG002
        result = vtok(command, photo, "-o", tmp_path / ("p.vtok" if command == "encode" else "p.png"), "--overlap", 5)
        assert (result.code, result.line) == (2, "vtok: an overlap of 5 pixels is more than half a tile; toy takes 0 to 4")

    def test_less_than_none(self, vtok, photo, tmp_path, command):
        result = vtok(command, photo, "-o", tmp_path / "p.png", "--overlap", -1)
        assert result.code == 2
        assert "--overlap" in result.err

    def test_tiles_that_see_their_neighbours(self, vtok, photo, model, tmp_path, command):
        out = tmp_path / ("p.vtok" if command == "encode" else "p.png")
        result = vtok(command, photo, "-o", out, "--model", model, "--overlap", 4)
        assert result.code == 2
        assert result.line == "vtok: tiles of linear see their neighbours and need no overlap: 4 pixels asked, take 0"
        assert not out.exists()


def test_a_folder_is_refused_at_once(vtok, album, model, tmp_path):
    result = vtok("encode", album, "-o", tmp_path / "out", "--model", model, "--overlap", 4)
    assert result.code == 2
    assert "see their neighbours" in result.line
