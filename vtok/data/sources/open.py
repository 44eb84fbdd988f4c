"""Opening a data set by what is there: picture files, tars, parquet tables, arrays, a cache of latents, or synthetic pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vtok.data.files import expand_home, expand_pattern, find_files, fixed_folder, is_pattern, look_at
from vtok.data.pictures import PICTURE_EXTENSIONS
from vtok.data.sources.arrays import ArraySource
from vtok.data.sources.base import Source, path_below
from vtok.data.sources.cache_names import MANIFEST
from vtok.data.sources.folder import CaptionedFolderSource, FolderSource
from vtok.data.sources.parquet import ParquetSource
from vtok.data.sources.split import Subset, is_held_out
from vtok.data.sources.synthetic import SyntheticSource
from vtok.data.sources.tar import TarSource
from vtok.errors import DataError

Kind = Literal["auto", "folder", "tar", "parquet", "npz", "cache", "synthetic"]
Split = Literal["all", "train", "held_out"]

_SOURCES: dict[str, type[FolderSource] | type[TarSource] | type[ParquetSource] | type[ArraySource]] = {
    "folder": FolderSource,
    "tar": TarSource,
    "parquet": ParquetSource,
    "npz": ArraySource,
}
_EXTENSIONS = {
    "folder": PICTURE_EXTENSIONS,
    "tar": frozenset({".tar"}),
    "parquet": frozenset({".parquet"}),
    "npz": frozenset({".npz"}),
}
_ENDING = {"folder": "jpg", "tar": "tar", "parquet": "parquet", "npz": "npz"}
_CALLED = {
    "folder": "pictures (.png, .jpg, .webp, ...)",
    "tar": "webdataset tars (.tar)",
    "parquet": "parquet tables (.parquet)",
    "npz": "arrays of pictures (.npz)",
}


def open_source(
    path: str | Path,
    *,
    kind: Kind = "auto",
    split: Split = "all",
    captions: bool = False,
    seed: int = 0,
    num_synthetic: int = 64,
    synthetic_size: tuple[int, int] = (64, 64),
) -> Source:
    """Open a data set of pictures.

    Args:
        path: a file, a folder (searched to any depth) or a pattern such as `shards/train-{000..127}.tar`; unused for synthetic pictures.
        kind: what to look for; "auto" takes what is there and refuses a mixture. A folder with a cache's manifest is a cache.
        split: "held_out" is the twentieth of samples whose file name has a crc32 that divides by 20, "train" the rest.
        captions: read those of picture files too, from texts of the same name; tars and tables give theirs in any case.
        seed: of the synthetic pictures; so are the next two.
        num_synthetic: how many.
        synthetic_size: height, width in pixels.

    Raises:
        DataError: nothing there, no picture found, a mixture of kinds, a damaged tar or table, or an empty split.
        MissingExtraError: parquet without pyarrow.
    """
    if kind == "synthetic":
        return _split(SyntheticSource(num_synthetic, synthetic_size, seed=seed), split)
    place = expand_home(path)
    if kind == "cache" or (kind == "auto" and (place / MANIFEST).is_file()):
        return _open_cache(place, str(path), split)
    found_kind, files = _found(path, kind)
    opener = CaptionedFolderSource if captions and found_kind == "folder" else _SOURCES[found_kind]
    source = opener(files, root=_root(place), name=str(path))
    if not len(source):
        raise DataError(f"{path}: the {_CALLED[found_kind]} in it hold no picture")
    return _split(source, split)


@dataclass(frozen=True)
class Part:
    """Some files of a data set, opened when they are wanted.

    Args:
        name: which they are, in messages and reports.
    """

    name: str
    _kind: str
    _files: tuple[Path, ...]
    _root: Path
    _split: Split

    @property
    def paths(self) -> tuple[str, ...]:
        """Of the files, below the folder that keys are relative to."""
        return tuple(path_below(self._root, file).as_posix() for file in self._files)

    def open(self) -> Source:
        """The samples of the part, perhaps none.

        Raises:
            DataError, MissingExtraError: as `open_source`.
        """
        opener = CaptionedFolderSource if self._kind == "folder" else _SOURCES[self._kind]
        source = opener(self._files, root=self._root, name=self.name)
        if self._split == "all":
            return source
        return Subset(source, _belonging(source, self._split), name=self.name)


def open_parts(path: str | Path, *, kind: Kind = "auto", split: Split = "all", part_size: int = 1000) -> list[Part]:
    """A data set in parts that can be worked on one by one: each tar, table or array is one, picture files are taken so many at a time.

    Args:
        path, kind, split: as of `open_source`; a cache of latents and synthetic pictures have no parts.
        part_size: picture files of a part.

    Raises:
        DataError: nothing there, no picture found, or a mixture of kinds.
    """
    found_kind, files = _found(path, kind)
    root, step = _root(expand_home(path)), part_size if found_kind == "folder" else 1
    parts = [tuple(files[first : first + step]) for first in range(0, len(files), step)]
    return [Part(_range_name(own, root), found_kind, own, root, split) for own in parts]


def _range_name(files: Sequence[Path], root: Path) -> str:
    first, last = (path_below(root, file).as_posix() for file in (files[0], files[-1]))
    return first if len(files) == 1 else f"{first} to {last} ({len(files)})"


def _found(path: str | Path, kind: str) -> tuple[str, list[Path]]:
    """Of which kind the files at a place are, and all of them."""
    place = expand_home(path)
    wanted: list[str] = list(_SOURCES) if kind == "auto" else [kind]
    found = {k: files for k in wanted if (files := _find(place, _EXTENSIONS[k]))}
    if len(found) != 1:
        raise DataError(_complaint(path, wanted, found))
    return found.popitem()


def _find(place: Path, extensions: frozenset[str]) -> list[Path]:
    there = look_at(place)
    if there == "folder":
        return find_files(place, extensions)
    if there == "file":
        matches = [place]
    elif is_pattern(str(place)):
        matches = expand_pattern(str(place))
    else:
        raise DataError(f"{place}: no such file or folder")
    folders = [file for match in matches if match.is_dir() for file in find_files(match, extensions)]
    return sorted({*folders, *(match for match in matches if match.is_file() and match.suffix.lower() in extensions)})


def _root(place: Path) -> Path:
    there = look_at(place)
    if there == "folder":
        return place
    return place.parent if there == "file" else fixed_folder(str(place))


def _complaint(path: str | Path, wanted: list[str], found: dict[str, list[Path]]) -> str:
    if not found:
        return f"{path}: no picture found; looked for {', '.join(_CALLED[k] for k in wanted)}"
    counts = ", ".join(f"{len(files)} {_CALLED[k]}" for k, files in found.items())
    example = f"{path}/**/*.{_ENDING[list(found)[-1]]}"
    return f"{path}: holds {counts}; say which by the kind ({', '.join(found)}) or by a pattern such as {example!r}"


def _open_cache(folder: Path, name: str, split: Split) -> Source:
    from vtok.data.sources.cache import CacheSource  # with pydantic, which the rest of the room does without

    cache = CacheSource(folder, name=name)
    return cache if split == "all" else cache.part(_part(cache, split), name=_part_name(cache, split))


def _split(source: Source, split: Split) -> Source:
    return source if split == "all" else Subset(source, _part(source, split), name=_part_name(source, split))


def _part(source: Source, split: Split) -> list[int]:
    indices = _belonging(source, split)
    if not indices:
        raise DataError(f"{source.name}: none of its {len(source)} pictures belongs to the {split.replace('_', '-')} part; add pictures")
    return indices


def _belonging(source: Source, split: Split) -> list[int]:
    return [i for i in range(len(source)) if is_held_out(source.key(i)) == (split == "held_out")]


def _part_name(source: Source, split: Split) -> str:
    return f"{source.name} ({split.replace('_', '-')} part)"
