"""`vtok info`: every figure, without a model."""

import os
from pathlib import Path

import pytest

from vtok.codec.container import read
from vtok.weights.table import DEFAULT, TABLE


def test_the_figures_are_those_of_the_file(vtok, encoded):
    file = read(encoded)
    (record,) = vtok("info", encoded, "--json").records
    size = encoded.stat().st_size
    assert record == {
        "file": str(encoded),
        "width": 50,
        "height": 35,
        "tiles": 12,
        "overlap": 0,
        "tokens_mean": 8,
        "tokens_min": 8,
        "tokens_max": 8,
        "rows": 3,
        "columns": 4,
        "whole": False,
        "bytes": size,
        "header_bytes": size - 48,
        "payload_bytes": 48,
        "bpp": pytest.approx(8 * size / 1750),
        "bits": 384,
        "tile_height": 16,
        "tile_width": 16,
        "max_tokens": 8,
        "nested": True,
        "codebook_sizes": [16],
        "stored_bits": 4,
        "digest": file.digest.hex(),
        "model": None,
        "caption": None,
        "cut": False,
    }


def test_the_lines_say_the_same(vtok, photo, model):
    out = photo.with_suffix(".vtok")
    vtok("encode", photo, "-o", out, "--model", model, "--caption", "two\nlines")
    result = vtok("info", out)
    assert (result.code, result.err) == (0, "")
    text = result.out.decode()
    for words in (
        str(out),
        "50 x 35 pixels, 8 tokens a tile in 12 tiles",
        "3 rows, 4 columns of 16 x 16",
        "two lines",
        "whole, checksums right",
    ):
        assert words in text


def test_a_known_model_is_named(vtok, encoded, tmp_path):
    data = bytearray(encoded.read_bytes())
    data[5:9] = bytes.fromhex(TABLE[DEFAULT].digest)[:4]
    from binascii import crc_hqx

    start = len(data) - 48 - 2
    data[start : start + 2] = crc_hqx(bytes(data[:start]), 0xFFFF).to_bytes(2, "little")
    (tmp_path / "known.vtok").write_bytes(data)
    assert vtok("info", tmp_path / "known.vtok", "--json").records[0]["model"] == DEFAULT


def test_a_cut_file_is_said_to_be_cut(vtok, encoded, tmp_path):
    (tmp_path / "cut.vtok").write_bytes(encoded.read_bytes()[:-20])
    assert "cut: shown are the tokens left" in vtok("info", tmp_path / "cut.vtok").out.decode()
    (record,) = vtok("info", tmp_path / "cut.vtok", "--json").records
    assert record["cut"]
    assert record["bytes"] == (tmp_path / "cut.vtok").stat().st_size
    assert record["tokens_max"] < 8


def test_standard_input_serves(vtok, encoded):
    (record,) = vtok("info", "-", "--json", stdin=encoded.read_bytes()).records
    assert record["bytes"] == encoded.stat().st_size


def test_a_bad_file_among_good_ones_is_listed(vtok, encoded, tmp_path):
    (tmp_path / "bad.vtok").write_bytes(b"nothing")
    result = vtok("info", encoded, tmp_path / "bad.vtok")
    assert result.code == 3
    assert str(encoded) in result.out.decode()
    assert result.err.startswith("vtok: 1 of 2 files failed:\n")


def test_a_bad_file_alone_is_one_line(vtok, tmp_path):
    (tmp_path / "bad.vtok").write_bytes(b"nothing")
    result = vtok("info", tmp_path / "bad.vtok")
    assert result.code == 2
    assert "not a .vtok file" in result.line


def test_a_missing_file_is_named(vtok, tmp_path):
    result = vtok("info", tmp_path / "none.vtok")
    assert result.code == 2
    assert str(tmp_path / "none.vtok") in result.line


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="this system has no /dev/fd")
def test_a_named_pipe_is_as_long_as_what_came_through_it(vtok, encoded):
    data = encoded.read_bytes()
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    (record,) = vtok("info", f"/dev/fd/{reading}", "--json").records
    os.close(reading)
    assert (record["bytes"], record["header_bytes"]) == (len(data), len(data) - record["payload_bytes"])
