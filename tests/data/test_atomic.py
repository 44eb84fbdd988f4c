"""Files and folders that appear whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from vtok.data import atomic_file, atomic_folder, write_bytes
from vtok.errors import OutputError


def failing(number: int):
    def fail(*_args, **_options):
        raise OSError(number, os.strerror(number))

    return fail


class TestAtomicFile:
    def test_a_file_appears_with_all_its_bytes_and_nothing_beside_it(self, tmp_path):
        write_bytes(tmp_path / "x.vtok", b"all of it")
        assert (tmp_path / "x.vtok").read_bytes() == b"all of it"
        assert [p.name for p in tmp_path.iterdir()] == ["x.vtok"]

    def test_the_name_is_taken_only_at_the_end(self, tmp_path):
        path = tmp_path / "x"
        path.write_bytes(b"old")
        with atomic_file(path) as file:
            file.write(b"new")
            file.flush()
            assert path.read_bytes() == b"old"
            assert (tmp_path / f"x.{os.getpid()}.part").read_bytes() == b"new"
        assert path.read_bytes() == b"new"

    @pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt(), OSError(errno.EIO, "not the disk's")])
    def test_an_error_in_the_middle_leaves_the_old_file_and_passes_on(self, tmp_path, error):
        path = tmp_path / "x"
        path.write_bytes(b"old")

        def write_half():
            with atomic_file(path) as file:
                file.write(b"half")
                raise error

        with pytest.raises(type(error)) as caught:
            write_half()
        assert caught.value is error
        assert [p.name for p in tmp_path.iterdir()] == ["x"]
        assert path.read_bytes() == b"old"

    def test_a_full_disk_while_writing_is_one_line(self, tmp_path):
        with pytest.raises(OutputError, match="the disk is full; free some space") as caught, atomic_file(tmp_path / "x"):
            failing(errno.ENOSPC)()
        assert str(caught.value).startswith(str(tmp_path / "x"))
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
    def test_a_truly_full_device_is_one_line(self):
        with pytest.raises(OutputError, match="the disk is full"):
            write_bytes("/dev/full", b"x" * 100_000)

    @pytest.mark.parametrize(
        ("number", "words"),
        [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "disk is full"), (errno.EIO, "cannot be written")],
    )
    def test_a_disk_that_fails_at_the_end_leaves_the_old_file(self, tmp_path, monkeypatch, number, words):
        path = tmp_path / "x"
        path.write_bytes(b"old")
        monkeypatch.setattr(os, "fsync", failing(number))
        with pytest.raises(OutputError, match=words):
            write_bytes(path, b"new")
        assert [p.name for p in tmp_path.iterdir()] == ["x"]
        assert path.read_bytes() == b"old"

    @pytest.mark.parametrize(
        ("number", "words"),
        [
            (errno.EACCES, "no permission"),
            (errno.EPERM, "no permission"),
            (errno.EROFS, "read-only"),
            (errno.ENAMETOOLONG, "cannot be written"),
        ],
    )
    def test_a_place_that_cannot_be_opened_is_one_line(self, tmp_path, monkeypatch, number, words):
        monkeypatch.setattr(Path, "open", failing(number))
        with pytest.raises(OutputError, match=words):
            write_bytes(tmp_path / "x", b"")

    def test_a_missing_folder_a_file_as_folder_and_a_folder_as_file_are_named(self, tmp_path):
        with pytest.raises(OutputError, match=r"the folder .*none does not exist; create it first"):
            write_bytes(tmp_path / "none" / "x", b"")
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match=r"file is not a folder"):
            write_bytes(tmp_path / "file" / "x", b"")
        with pytest.raises(OutputError, match="is a folder; name a file in it"):
            write_bytes(tmp_path, b"")

    def test_a_device_is_written_and_not_replaced(self):
        write_bytes(os.devnull, b"gone")
        assert not Path(os.devnull).is_file()


class TestAtomicFolder:
    def test_a_new_folder_appears_complete(self, tmp_path):
        target = tmp_path / "model"
        with atomic_folder(target) as folder:
            (folder / "config.json").write_text("{}")
            (folder / "deep").mkdir()
            (folder / "deep" / "x").write_text("x")
            assert not target.exists()
        assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
            "model",
            "model/config.json",
            "model/deep",
            "model/deep/x",
        ]

    def test_an_existing_folder_gets_the_new_files_and_keeps_the_others(self, tmp_path):
        (tmp_path / "config.json").write_text("old")
        (tmp_path / "notes.txt").write_text("mine")
        with atomic_folder(tmp_path) as folder:
            (folder / "config.json").write_text("new")
            assert (tmp_path / "config.json").read_text() == "old"
        assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"config.json": "new", "notes.txt": "mine"}

    @pytest.mark.parametrize("exists", [True, False])
    def test_an_error_leaves_things_as_they_were(self, tmp_path, exists):
        target = tmp_path / "model"
        if exists:
            target.mkdir()
            (target / "config.json").write_text("old")

        def write_half():
            with atomic_folder(target) as folder:
                (folder / "config.json").write_text("half")
                raise RuntimeError("stop")

        with pytest.raises(RuntimeError, match="stop"):
            write_half()
        assert [p.name for p in tmp_path.rglob("*")] == (["model", "config.json"] if exists else [])
        assert not exists or (target / "config.json").read_text() == "old"

    def test_a_full_disk_a_missing_parent_and_a_file_in_the_way_are_one_line(self, tmp_path):
        with pytest.raises(OutputError, match="disk is full"), atomic_folder(tmp_path / "model"):
            failing(errno.ENOSPC)()
        with pytest.raises(OutputError, match="does not exist"), atomic_folder(tmp_path / "none" / "model"):
            pass
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="is a file, expected a folder"), atomic_folder(tmp_path / "file"):
            pass
        assert [p.name for p in tmp_path.iterdir()] == ["file"]
