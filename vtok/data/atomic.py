"""Files and folders that appear whole or not at all, with one line for a place that cannot be written."""

import contextlib
import errno
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from vtok.data.files import absolute
from vtok.errors import OutputError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only when it is complete and on the disk.

    The bytes go to `NAME.PID.part` beside it; on any error that file is removed and an old one stays as it was. A device or a pipe
    is written directly.

    Raises:
        OutputError: the folder is missing, there is no permission, the target is a folder, or the disk is full.
    """
    path = Path(path)
    with _explained(path):
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file in it")
        special = path.exists() and not path.is_file()
    with _direct(path) if special else _through_part(path) as file:
        yield file


@contextlib.contextmanager
def _direct(path: Path) -> Iterator[BinaryIO]:
    with _explained(path):
        file = path.open("wb")
    with _explained(path, only=_FULL), file:
        yield file


@contextlib.contextmanager
def _through_part(path: Path) -> Iterator[BinaryIO]:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with _explained(path):
        file = part.open("wb")
    try:
        with _explained(path, only=_FULL), file:
            yield file
            with _explained(path):
                file.flush()
                os.fsync(file.fileno())
        with _explained(path):
            part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file with `atomic_file`.

    Raises:
        OutputError: as there.
    """
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder to write into; its files take their place when the block ends without an error.

    A new folder appears in one step, complete. In one that exists each file is replaced whole, one after the other in the order of their
    names, and other files stay; so a crash in that moment can leave old and new files side by side, but no half file.

    Raises:
        OutputError: the parent folder is missing, there is no permission, the target is a file, or the disk is full.
    """
    path = absolute(Path(path))
    with _explained(path):
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path}: is a file, expected a folder; choose another name")
        existing = path.is_dir()
        part = (path if existing else path.parent) / f"{path.name}.{os.getpid()}.part"  # on the target's own disk, even a mount point
        part.mkdir()
    try:
        with _explained(path, only=_FULL):
            yield part
        with _explained(path):
            _sync_files(part)
            if existing:
                _move_files(part, path)
            else:
                part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def _sync_files(folder: Path) -> None:
    for file in _files(folder):
        with file.open("rb+") as f:
            os.fsync(f.fileno())


def _move_files(source: Path, target: Path) -> None:
    for file in _files(source):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)


@contextlib.contextmanager
def _explained(path: Path, only: Collection[int] | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise OutputError(f"{path}: {_explanation(path, error)}") from error


def _explanation(path: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return "the disk is full; free some space or choose another place"
    if error.errno == errno.ENOENT:
        return f"the folder {path.parent} does not exist; create it first"
    if error.errno == errno.ENOTDIR:
        return f"{path.parent} is not a folder; choose another place"
    if error.errno == errno.EROFS:
        return "the disk is read-only; choose another place"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission to write there; choose another place or change the folder's permissions"
    return f"cannot be written ({error.strerror or error})"
