"""Parquet tables in the Hugging Face layout: an image column of {bytes, path} or plain bytes, a label, a caption."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from vtok.data.pictures import read_picture
from vtok.data.sources.base import Sample, path_below
from vtok.errors import DataError, MissingExtraError, PictureError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_IMAGE_NAMES = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp")
_CAPTION_NAMES = ("caption", "text")


@dataclass(frozen=True)
class _Columns:
    image: str
    nested: bool  # {bytes, path} rather than plain bytes
    has_path: bool
    label: str | None
    caption: str | None

    @property
    def used(self) -> list[str]:
        return [name for name in (self.image, self.label, self.caption) if name is not None]


@dataclass(frozen=True)
class _Group:
    """One row group of one file."""

    file: Path
    prefix: str
    number: int
    first_row: int  # within the file
    num_rows: int
    columns: _Columns


class ParquetSource:
    """Rows of parquet files at random access; row groups are kept in memory up to a limit, the latest used ones.

    Args:
        files: the tables, in the order of the data set.
        root: the folder that keys are relative to.
        name: what to call the data set.
        cache_bytes: how many bytes of row groups to keep; one group is always kept.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: a file that is not parquet, is damaged, or has no image column.
    """

    def __init__(self, files: Sequence[Path], *, root: Path, name: str, cache_bytes: int = 256 << 20) -> None:
        self.name = name
        self.class_names: tuple[str, ...] | None = None
        self._groups: list[_Group] = []
        for file in files:
            self._add(file, root)
        self._ends = list(itertools.accumulate(group.num_rows for group in self._groups))
        self._cache: OrderedDict[int, pa.Table] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()  # several threads may read
        self._paths: dict[int, list[str | None]] = {}

    @property
    def has_captions(self) -> bool:
        """Whether any of the tables has a column for them."""
        return any(group.columns.caption is not None for group in self._groups)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"} | {"_cache": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"_lock": threading.Lock()}

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def key(self, index: int) -> str:
        """The table's path below the root without its ending, the row's number, and the picture's file name where it is stored."""
        number, row = self._locate(index)
        group = self._groups[number]
        with _damage_named(group.file):
            if number not in self._paths:
                self._paths[number] = _read_paths(group)
            return _key(group, row, self._paths[number][row])

    def __getitem__(self, index: int) -> Sample:
        number, row = self._locate(index)
        group, columns = self._groups[number], self._groups[number].columns
        with _damage_named(group.file):
            table = self._table(number)
            image, label, caption = (_cell(table, name, row) for name in (columns.image, columns.label, columns.caption))
        data = image.get("bytes") if isinstance(image, dict) else image
        path = image.get("path") if isinstance(image, dict) and columns.has_path else None
        key = _key(group, row, path)
        called = f"{group.file} row {group.first_row + row}" + (f" ({path})" if path else "")
        if data is None:
            raise PictureError(f"{called}: holds no picture bytes" + (", only a path" if path else ""))
        return Sample(key, read_picture(data, name=called), label, _first(caption))

    def _add(self, file: Path, root: Path) -> None:
        with _opened(file) as table:
            schema = table.schema_arrow
            sizes = [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)]
            features = _features(schema)
            columns = _find_columns(file, schema, features)
        if self.class_names is None and columns.label:
            self.class_names = _class_names(features.get(columns.label))
        starts = itertools.accumulate(sizes, initial=0)
        prefix = path_below(root, file).with_suffix("").as_posix()
        self._groups += [_Group(file, prefix, i, start, size, columns) for i, (start, size) in enumerate(zip(starts, sizes, strict=False))]

    def _locate(self, index: int) -> tuple[int, int]:
        position = range(len(self))[index]
        number = bisect.bisect_right(self._ends, position)
        return number, position - (self._ends[number] - self._groups[number].num_rows)

    def _table(self, number: int) -> pa.Table:
        with self._lock:
            if number not in self._cache:
                group = self._groups[number]
                self._cache[number] = _read_group(group, group.columns.used)
                while len(self._cache) > 1 and sum(table.nbytes for table in self._cache.values()) > self._cache_bytes:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(number)
            return self._cache[number]


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[pq.ParquetFile]:
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError('reading parquet needs pyarrow; install it with: pip install "vtok[train]"') from None
    with _damage_named(file), pq.ParquetFile(file) as table:
        yield table


@contextlib.contextmanager
def _damage_named(file: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (OSError, ValueError, LookupError, pa.ArrowException) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{file}: not a whole parquet file ({reason}); copy it again") from error


def _read_group(group: _Group, columns: list[str]) -> pa.Table:
    with _opened(group.file) as table:
        return table.read_row_group(group.number, columns=columns)


def _cell(table: pa.Table, column: str | None, row: int) -> Any:
    return None if column is None else table.column(column)[row].as_py()


def _read_paths(group: _Group) -> list[str | None]:
    if not group.columns.has_path:
        return [None] * group.num_rows
    column = _read_group(group, [f"{group.columns.image}.path"]).column(0)
    return [cell and cell["path"] for cell in column.to_pylist()]


def _key(group: _Group, row: int, path: str | None) -> str:
    key = f"{group.prefix}/{group.first_row + row:08d}"
    file_name = PurePosixPath(path).name if path else ""
    return f"{key}/{file_name}" if file_name else key


def _first(caption: Any) -> str | None:
    if isinstance(caption, list):
        caption = caption[0] if caption else None
    return caption if isinstance(caption, str) else None


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What the Hugging Face metadata say of each column; empty where there are none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _class_names(feature: Any) -> tuple[str, ...] | None:
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(str(name) for name in names) if isinstance(names, list) else None


def _find_columns(file: Path, schema: pa.Schema, features: dict[str, Any]) -> _Columns:
    import pyarrow as pa

    kinds = {field.name: _image_kind(field.type) for field in schema}
    declared = [name for name, feature in features.items() if isinstance(feature, dict) and feature.get("_type") == "Image"]
    nested = [name for name, kind in kinds.items() if kind == "nested"]
    image = next((name for name in (*declared, *_IMAGE_NAMES, *nested) if kinds.get(name)), None)
    if image is None:
        raise DataError(
            f"{file}: no image column; expected {{bytes, path}} or bytes under a name such as 'image', found {', '.join(kinds)}"
        )
    kind = schema.field(image).type
    label = "label" if "label" in kinds and pa.types.is_integer(schema.field("label").type) else None
    caption = next((name for name in _CAPTION_NAMES if name in kinds), None)
    is_nested = kinds[image] == "nested"
    has_path = is_nested and kind.get_field_index("path") >= 0 and _is_text(kind.field("path").type)
    return _Columns(image, is_nested, has_path, label, caption)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _image_kind(kind: pa.DataType) -> str | None:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return "nested" if position >= 0 and _is_bytes(kind.field(position).type) else None
    return "plain" if _is_bytes(kind) else None


def _is_bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return kind in (pa.binary(), pa.large_binary(), pa.binary_view())
