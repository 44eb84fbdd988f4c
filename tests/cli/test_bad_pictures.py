"""Hostile and unusual picture files through one folder run."""

import csv

import pytest
from PIL import features

from tests.cli.samples import files_under


@pytest.fixture
def expected(shared) -> dict[str, str]:
    with (shared / "data" / "bad" / "expected.tsv").open(newline="") as file:
        return {row["file"]: row["expect"] for row in csv.DictReader(file, delimiter="\t")}


def test_exactly_the_bad_ones_are_listed(vtok, shared, expected, model, tmp_path):
    if not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    result = vtok("encode", shared / "data" / "bad", "-o", tmp_path / "out", "--model", model, "--tokens", 1, "--json")
    assert result.code == 3
    failed = {record["file"].rsplit("/", 1)[1] for record in result.records if "error" in record}
    encoded = {record["file"].rsplit("/", 1)[1] for record in result.records if "error" not in record}
    either = {name for name, expect in expected.items() if expect == "ok-or-error"}
    assert failed - either == {name for name, expect in expected.items() if expect in ("error", "refuse")}
    assert encoded - either == {name for name, expect in expected.items() if expect == "ok"}
    head, *lines = result.err.splitlines()
    assert head == f"vtok: {len(failed)} of {len(expected)} files failed:"
    assert len(lines) == len(failed)
    assert all(line.startswith("  ") for line in lines)
    assert len(files_under(tmp_path / "out")) == len(encoded)


def test_a_folder_without_pictures_is_one_line(vtok, tmp_path, model):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "text.txt").write_text("no picture")
    result = vtok("encode", tmp_path / "notes", "-o", tmp_path / "out", "--model", model)
    assert result.code == 2
    assert "no file with an extension" in result.line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_a_bad_picture_alone_is_one_line(vtok, tmp_path, model, content):
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    result = vtok("encode", bad, "-o", tmp_path / "out.vtok", "--model", model)
    assert result.code == 2
    assert result.line.startswith(f"vtok: {bad}: ")
    assert not (tmp_path / "out.vtok").exists()
