"""`vtok encode`: outputs, rates, records."""

import errno
import math
import os
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.samples import files_under, pixels
from vtok.codec.container import TokenFile, read


def test_one_picture_goes_to_the_file_named(vtok, photo, model):
    result = vtok("encode", photo, "-o", photo.with_name("p.vtok"), "--model", model)
    assert (result.code, result.out) == (0, b"")
    assert read(photo.with_name("p.vtok")).size == (35, 50)


def test_one_line_says_what_was_done(vtok, photo, model):
    out = photo.with_name("p.vtok")
    line = vtok("encode", photo, "-o", out, "--model", model, "--tokens", 4).line
    assert line.startswith(f"{photo} -> {out}: 50 x 35 pixels, 4 tokens a tile in 12 tiles, {out.stat().st_size} bytes, ")


def test_without_an_output_the_file_lies_beside_the_picture(vtok, photo, model):
    assert vtok("encode", photo, "--model", model).code == 0
    assert read(photo.with_suffix(".vtok")).size == (35, 50)


def test_an_existing_folder_as_output_keeps_the_stem(vtok, photo, model, tmp_path):
    (tmp_path / "out").mkdir()
    vtok("encode", photo, "-o", tmp_path / "out", "--model", model)
    assert files_under(tmp_path / "out") == ["photo.vtok"]


def test_a_folder_that_is_not_there_yet_is_made(vtok, photo, model, tmp_path):
    vtok("encode", photo, "-o", f"{tmp_path}/new/", "--model", model)
    assert files_under(tmp_path / "new") == ["photo.vtok"]


def test_a_folder_keeps_stems_and_inner_folders(vtok, album, model, tmp_path):
    result = vtok("encode", album, "-o", tmp_path / "out", "--model", model)
    assert result.code == 0
    assert files_under(tmp_path / "out") == ["a.vtok", "b.vtok", "deeper/c.vtok"]
    assert result.err.count("\n") == 3


def test_a_quoted_pattern_is_expanded(vtok, album, model, tmp_path):
    vtok("encode", album / "*.*", "-o", tmp_path / "out", "--model", model)
    assert files_under(tmp_path / "out") == ["a.vtok", "b.vtok"]


def test_pictures_of_one_stem_keep_their_extension(vtok, tmp_path, model):
    (tmp_path / "twins").mkdir()
    for name in ("a.png", "a.webp", "b.png"):
        Image.fromarray(pixels(16, 16)).save(tmp_path / "twins" / name)
    assert vtok("encode", tmp_path / "twins", "-o", tmp_path / "out", "--model", model).code == 0
    assert files_under(tmp_path / "out") == ["a.png.vtok", "a.webp.vtok", "b.vtok"]


def test_a_batch_gives_the_files_that_each_picture_gives_alone(vtok, album, model, tmp_path):
    vtok("encode", album, "-o", tmp_path / "together", "--model", model)
    for name in ("a.png", "b.webp"):
        alone = tmp_path / "alone.vtok"
        vtok("encode", album / name, "-o", alone, "--model", model)
        assert alone.read_bytes() == (tmp_path / "together" / name).with_suffix(".vtok").read_bytes()


def test_json_gives_one_object_a_file_and_no_lines(vtok, album, model, tmp_path):
    result = vtok("encode", album, "-o", tmp_path / "out", "--model", model, "--json", "--tokens", 2)
    assert result.err == ""
    assert [record["file"] for record in result.records] == [str(album / name) for name in ("a.png", "b.webp", "deeper/c.jpg")]
    last = result.records[-1]
    size = (tmp_path / "out" / "deeper" / "c.vtok").stat().st_size
    expected = {"width": 17, "height": 33, "tiles": 6, "tokens_mean": 2, "tokens_min": 2, "tokens_max": 2, "bytes": size, "psnr": None}
    assert {key: last[key] for key in expected} == expected
    assert last["bpp"] == pytest.approx(8 * size / (17 * 33))


def test_quiet_says_nothing(vtok, album, model, tmp_path):
    result = vtok("encode", album, "-o", tmp_path / "out", "--model", model, "--quiet")
    assert (result.code, result.out, result.err) == (0, b"", "")


def test_bytes_are_never_exceeded(vtok, photo, model):
    out = photo.with_name("p.vtok")
    record = vtok("encode", photo, "-o", out, "--model", model, "--bytes", 60, "--json").records[0]
    assert out.stat().st_size == record["bytes"] <= 60


def test_bpp_counts_the_whole_file(vtok, photo, model):
    out = photo.with_name("p.vtok")
    vtok("encode", photo, "-o", out, "--model", model, "--bpp", 0.25)
    assert out.stat().st_size <= 0.25 * 35 * 50 / 8


def test_psnr_is_reached_and_reported(vtok, photo, model):
    full = vtok("encode", photo, "-o", photo.with_name("p.vtok"), "--model", model, "--json").records[0]
    wanted = 8
    reached = vtok("encode", photo, "-o", photo.with_name("q.vtok"), "--model", model, "--json", "--psnr", wanted).records[0]
    assert wanted <= reached["psnr"] < math.inf
    assert reached["bytes"] <= full["bytes"]


def test_whole_stores_one_string_and_the_size_of_the_source(vtok, photo, model):
    out = photo.with_name("p.vtok")
    vtok("encode", photo, "-o", out, "--model", model, "--whole")
    file = read(out)
    assert (file.whole, file.size, len(file.lengths)) == (True, (35, 50), 1)


def test_a_caption_is_stored(vtok, photo, model):
    out = photo.with_name("p.vtok")
    vtok("encode", photo, "-o", out, "--model", model, "--caption", "Wäsche im Wind")
    assert read(out).caption == "Wäsche im Wind"


def test_a_pipe_in_and_a_pipe_out(vtok, photo, model):
    result = vtok("encode", "-", "--model", model, stdin=photo.read_bytes())
    assert result.code == 0
    assert result.line.startswith("- -> -: 50 x 35 pixels")
    assert TokenFile.from_bytes(result.out).size == (35, 50)


def test_a_file_to_a_pipe(vtok, photo, model, encoded):
    assert vtok("encode", photo, "-o", "-", "--model", model, "-q").out == encoded.read_bytes()


def refuse(monkeypatch, mode: str, error: OSError) -> None:
    """Let no file be opened in this mode."""
    really_open = Path.open

    def opened(self: Path, how: str = "r", *options, **more):
        if how == mode:
            raise error
        return really_open(self, how, *options, **more)

    monkeypatch.setattr(Path, "open", opened)


class TestWhatIsRefused:
    def test_a_picture_that_may_not_be_read(self, vtok, photo, model, monkeypatch):
        refuse(monkeypatch, "rb", PermissionError(errno.EACCES, "Permission denied"))
        result = vtok("encode", photo, "-o", photo.with_name("p.vtok"), "--model", model)
        assert result.code == 2
        assert result.line == f"vtok: {photo}: no permission to read it"

    def test_two_rates(self, vtok, photo):
        result = vtok("encode", photo, "--tokens", 4, "--bpp", 0.1)
        assert result.code == 2
        assert "--tokens and --bpp exclude each other" in result.err

    @pytest.mark.parametrize(
        "rate", [("--tokens", 0), ("--bytes", -1), ("--bpp", "nan"), ("--bpp", 0), ("--psnr", "inf"), ("--tokens", "x")]
    )
    def test_a_rate_out_of_range(self, vtok, photo, rate):
        result = vtok("encode", photo, *rate)
        assert result.code == 2
        assert rate[0] in result.err

    def test_more_tokens_than_a_tile_has(self, vtok, photo, model):
        result = vtok("encode", photo, "--tokens", 9, "--model", model)
        assert result.code == 2
        assert result.line == "vtok: 9 tokens do not decode here; lengths that do: 1 to 8"

    def test_too_few_bytes(self, vtok, photo, model, tmp_path):
        result = vtok("encode", photo, "-o", tmp_path / "p.vtok", "--bytes", 10, "--model", model)
        assert result.code == 2
        assert "10 bytes" in result.line
        assert not (tmp_path / "p.vtok").exists()

    def test_too_few_bytes_for_one_of_several(self, vtok, album, model, tmp_path):
        Image.fromarray(pixels(160, 160)).save(album / "large.png")
        result = vtok("encode", album, "-o", tmp_path / "out", "--bytes", 50, "--model", model)
        assert result.code == 3
        assert "vtok: 1 of 4 files failed:\n  " in result.err
        assert str(album / "large.png") in result.err
        assert files_under(tmp_path / "out") == ["a.vtok", "b.vtok", "deeper/c.vtok"]

    def test_a_caption_that_does_not_fit(self, vtok, photo):
        result = vtok("encode", photo, "--caption", "ä" * 2049)
        assert result.code == 2
        assert "the caption takes 4098 bytes in UTF-8, a file holds at most 4096" in result.line

    def test_an_output_that_is_the_input(self, vtok, photo, model):
        before = photo.read_bytes()
        result = vtok("encode", photo, "-o", photo, "--model", model)
        assert result.code == 2
        assert "would overwrite the input" in result.line
        assert photo.read_bytes() == before

    def test_an_output_with_the_name_of_a_picture(self, vtok, photo, model):
        result = vtok("encode", photo, "-o", photo.with_name("other.jpg"), "--model", model)
        assert result.code == 2
        assert "name it other.vtok" in result.line

    def test_several_pictures_into_one_pipe(self, vtok, album, model):
        result = vtok("encode", album, "-o", "-", "--model", model)
        assert result.code == 2
        assert "name a folder" in result.line

    def test_records_and_bytes_in_one_pipe(self, vtok, photo):
        result = vtok("encode", photo, "-o", "-", "--json")
        assert result.code == 2
        assert "standard output" in result.err

    def test_nothing_piped_in(self, vtok):
        result = vtok("encode", "-", "-o", "p.vtok")
        assert result.code == 2
        assert "0 bytes" in result.line

    def test_a_pipe_among_files(self, vtok, photo):
        assert vtok("encode", "-", photo).code == 2

    def test_an_unknown_model(self, vtok, photo):
        result = vtok("encode", photo, "--model", "photo46")
        assert result.code == 2
        assert "did you mean photo64?" in result.line

    def test_a_device_that_is_not_there(self, vtok, photo, model):
        import torch

        if torch.backends.mps.is_available():
            pytest.skip("this machine has that device")
        result = vtok("encode", photo, "--model", model, "--device", "mps")
        assert result.code == 2
        assert "no mps device here" in result.line


class TestPlacesThatCannotBeWritten:
    def test_a_missing_folder(self, vtok, photo, model, tmp_path):
        result = vtok("encode", photo, "-o", tmp_path / "none" / "p.vtok", "--model", model)
        assert result.code == 2
        assert f"the folder {tmp_path / 'none'} does not exist; create it first" in result.line

    def test_a_name_that_is_too_long(self, vtok, photo, model, tmp_path):
        result = vtok("encode", photo, "-o", tmp_path / ("x" * 300), "--model", model)
        assert result.code == 2
        assert "File name too long" in result.line

    def test_the_home_of_nobody(self, vtok, photo, model):
        result = vtok("encode", photo, "-o", "~nobody-at-all/p.vtok", "--model", model)
        assert result.code == 2
        assert "the folder ~nobody-at-all does not exist" in result.line

    def test_a_missing_parent_of_the_output_folder(self, vtok, album, model, tmp_path):
        result = vtok("encode", album, "-o", tmp_path / "none" / "out", "--model", model)
        assert result.code == 2
        assert f"the folder {tmp_path / 'none'} does not exist; create it first" in result.line

    def test_a_file_where_a_folder_is_needed(self, vtok, album, photo, model):
        result = vtok("encode", album, "-o", photo, "--model", model)
        assert result.code == 2
        assert "is a file" in result.line

    @pytest.mark.parametrize(("number", "words"), [(errno.EACCES, "no permission"), (errno.EROFS, "the disk is read-only")])
    def test_a_place_that_is_locked(self, vtok, photo, model, tmp_path, monkeypatch, number, words):
        refuse(monkeypatch, "wb", OSError(number, "locked"))
        result = vtok("encode", photo, "-o", tmp_path / "p.vtok", "--model", model)
        assert result.code == 2
        assert words in result.line
        assert files_under(tmp_path) == ["photo.png"]

    @pytest.mark.parametrize("several", [False, True])
    def test_a_full_disk(self, vtok, photo, album, model, tmp_path, monkeypatch, several):
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        source, target = (album, tmp_path / "out") if several else (photo, tmp_path / "p.vtok")
        result = vtok("encode", source, "-o", target, "--model", model)
        assert result.code == 2
        assert "the disk is full" in result.line
        assert not [name for name in files_under(tmp_path) if name.endswith((".vtok", ".part"))]
