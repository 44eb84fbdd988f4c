"""Webdataset tars: files that share a name up to the first dot are one sample."""

import json
import logging
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vtok.data.files import shown_name
from vtok.data.pictures import PICTURE_EXTENSIONS, read_picture
from vtok.data.sources.base import Sample, path_below
from vtok.errors import DataError, PictureError

_log = logging.getLogger(__name__)

_NOTES = ("cls", "txt", "json")


@dataclass(frozen=True)
class _Member:
    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class _Entry:
    tar: Path
    prefix: str
    picture: _Member
    notes: dict[str, _Member]  # by ending: "cls", "txt", "json"


class TarSource:
    """Pictures in uncompressed tars, found through an index of offsets that is made once and read at random access.

    Of a sample, the picture, the class id (`.cls`) and the caption (`.txt`, or `caption` or `text` in `.json`) are used. Only regular
    files in the tar are read: links, devices and addresses never are.

    Args:
        files: the tars, in the order of the data set.
        root: the folder that keys are relative to.
        name: what to call the data set.

    Raises:
        DataError: a tar that is missing, damaged, cut short or compressed.
    """

    class_names: tuple[str, ...] | None = None

    def __init__(self, files: Sequence[Path], *, root: Path, name: str) -> None:
        self.name = name
        self._entries = [entry for tar in files for entry in _index(tar, root)]

    @property
    def has_captions(self) -> bool:
        """Whether a text or a JSON file goes with any of the pictures."""
        return any("txt" in entry.notes or "json" in entry.notes for entry in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def key(self, index: int) -> str:
        """The tar's path below the root without its ending, then the picture's name in the tar."""
        entry = self._entries[index]
        return f"{entry.prefix}/{entry.picture.name}"

    def __getitem__(self, index: int) -> Sample:
        entry = self._entries[index]
        notes = {kind: _read(entry.tar, member) for kind, member in entry.notes.items()}
        fields = _json_fields(entry, notes.get("json"))
        label = _label(entry, notes["cls"]) if "cls" in notes else fields.get("label")
        caption = notes["txt"].decode("utf-8", "replace").strip() if "txt" in notes else fields.get("caption", fields.get("text"))
        return Sample(
            self.key(index),
            read_picture(_read(entry.tar, entry.picture), name=_shown(entry, entry.picture)),
            label if isinstance(label, int) and not isinstance(label, bool) else None,
            caption if isinstance(caption, str) else None,
        )


def _index(tar: Path, root: Path) -> list[_Entry]:
    prefix = path_below(root, tar).with_suffix("").as_posix()
    pictures: dict[str, _Member] = {}
    notes: dict[str, dict[str, _Member]] = {}
    num_hidden = 0
    for member in _members(tar):
        path = PurePosixPath(member.name)
        stem, _, ending = path.name.partition(".")
        key = f"{path.parent}/{stem}"
        if stem and ending.lower() in _NOTES:
            notes.setdefault(key, {})[ending.lower()] = member
        elif stem and path.suffix.lower() in PICTURE_EXTENSIONS:
            num_hidden += key in pictures
            pictures.setdefault(key, member)
    if num_hidden:
        _log.warning("%s: %d pictures left out, since another one has the same name up to the first dot", tar, num_hidden)
    return [_Entry(tar, prefix, picture, notes.get(key, {})) for key, picture in pictures.items()]


def _members(tar: Path) -> Iterator[_Member]:
    """Regular files of a tar in their order, after a look that the tar holds all their bytes."""
    try:
        size = tar.stat().st_size
        with tarfile.open(tar, "r:") as archive:
            for info in archive:
                if info.isreg() and not info.issparse():
                    if info.offset_data + info.size > size:
                        raise DataError(f"{tar}: cut short inside {info.name!r}; copy it again")
                    yield _Member(info.name, info.offset_data, info.size)
            if size - archive.offset < tarfile.BLOCKSIZE:
                _log.warning("%s: has no end mark and may be cut short", tar)
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise DataError(f"{tar}: not a whole, uncompressed tar ({error}); unpack or copy it again") from error


def _read(tar: Path, member: _Member) -> bytes:
    try:
        with tar.open("rb") as file:
            file.seek(member.offset)
            data = file.read(member.size)
    except OSError as error:
        raise DataError(f"{tar}: cannot be read any more ({error.strerror})") from error
    if len(data) != member.size:
        raise PictureError(f"{tar}:{shown_name(member.name)}: cut short, the tar changed after it was opened")
    return data


def _shown(entry: _Entry, member: _Member) -> str:
    return f"{entry.tar}:{shown_name(member.name)}"


def _label(entry: _Entry, text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError(f"{_shown(entry, entry.notes['cls'])}: holds {text[:20]!r}, expected a class id") from None


def _json_fields(entry: _Entry, text: bytes | None) -> dict[str, object]:
    if text is None:
        return {}
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(f"{_shown(entry, entry.notes['json'])}: not valid JSON") from None
    return fields if isinstance(fields, dict) else {}
