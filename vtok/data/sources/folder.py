"""A folder of picture files."""

from collections.abc import Sequence
from pathlib import Path

from vtok.data.pictures import read_picture
from vtok.data.sources.base import Sample, path_below


class FolderSource:
    """Picture files, without labels.

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

    def __len__(self) -> int:
        return len(self._files)

    def key(self, index: int) -> str:
        """The file's path below the root."""
        return path_below(self._root, self._files[index]).as_posix()

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.key(index), read_picture(self._files[index]))
