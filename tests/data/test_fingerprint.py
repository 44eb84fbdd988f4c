"""Whether a data set changed, told without reading it."""

import os

import pytest

from vtok.data.sources.fingerprint import fingerprint


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"12345")
        os.utime(tmp_path / name, (1, 1))
    return tmp_path


def test_the_same_files_have_the_same(folder):
    assert fingerprint(folder) == fingerprint(str(folder)) == fingerprint(f"{folder}/*.png")


def test_a_change_of_names_sizes_or_times_shows(folder):
    seen = {fingerprint(folder)}
    os.utime(folder / "a.png", (1, 2))
    seen.add(fingerprint(folder))
    (folder / "a.png").write_bytes(b"1234567")
    os.utime(folder / "a.png", (1, 2))
    seen.add(fingerprint(folder))
    (folder / "c.png").write_bytes(b"")
    seen.add(fingerprint(folder))
    assert len(seen) == 4


def test_other_files_do_not_matter(folder):
    before = fingerprint(folder)
    (folder / "notes.md").write_text("hello")
    assert fingerprint(folder) == before
