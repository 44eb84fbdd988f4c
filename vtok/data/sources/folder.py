"""A folder of picture files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vtok.data.files import look_at
from vtok.data.pictures import read_picture
from vtok.data.sources.base import Sample, path_below
from vtok.errors import DataError


class FolderSource:
    """Picture files, without labels and captions.

    Args:
        files: the pictures, in the order of the data set.
        root: the folder that keys are relative to.
        name: what to call the data set.
    """

    class_names: tuple[str, ...] | None = None

    def __init__(self, files: Sequence[Path], *, root: Path, name: str) -> None:
        self.name = name
        self._files = list(files)
        self._root = root

    @property
    def has_captions(self) -> bool:
        """Never; see `CaptionedFolderSource`."""
        return False

    def __len__(self) -> int:
        return len(self._files)

    def key(self, index: int) -> str:
        """The file's path below the root."""
        return path_below(self._root, self._files[index]).as_posix()

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.key(index), read_picture(self._files[index]))


class CaptionedFolderSource(FolderSource):
    """Picture files with their captions: the text in NAME.txt beside NAME.jpg, where there is one."""

    @property
    def has_captions(self) -> bool:
        """Whether a text lies beside any of the pictures."""
        return any(look_at(_beside(file)) == "file" for file in self._files)

    def __getitem__(self, index: int) -> Sample:
        return replace(super().__getitem__(index), caption=_caption(_beside(self._files[index])))


def _beside(picture: Path) -> Path:
    return picture.with_suffix(".txt")


def _caption(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as a caption in UTF-8 ({error}); save it anew, or move it away from its picture") from None
