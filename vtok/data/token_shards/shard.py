"""One shard of token strings as a parquet table: written whole, looked at before it is believed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtok.data.atomic import atomic_file
from vtok.data.token_shards.format import METADATA, ShardFacts, id_type, parsed
from vtok.errors import DataError, MissingExtraError

_BYTES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Origin:
    """Where a string comes from.

    Args:
        key: of the picture in its data set.
        view: number of its view.
        size: height, width of the picture in pixels.
        box: top, left, height, width in pixels of the part that was coded.
        mirrored: left and right changed.
        label: class id, or None.
        caption: or None.
    """

    key: str
    view: int
    size: tuple[int, int]
    box: tuple[float, float, float, float]
    mirrored: bool
    label: int | None
    caption: str | None


def write_shard(file: Path, facts: ShardFacts, origins: Sequence[Origin], ids: np.ndarray) -> None:
    """Write a shard, whole or not at all; equal strings give equal bytes.

    Args:
        origins: of the strings.
        ids: (strings, positions, codebooks), all of the settings' `num_tokens` positions.

    Raises:
        OutputError: it cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    pa, pq = _arrow()
    kind = getattr(pa, id_type(tuple(facts.settings.spec["codebook_sizes"])))()
    width = facts.settings.num_tokens * len(facts.settings.spec["codebook_sizes"])
    flat = pa.array(ids.astype(kind.to_pandas_dtype()).reshape(-1), kind)
    box = pa.array(np.asarray([origin.box for origin in origins], np.float32).reshape(-1), pa.float32())
    size = pa.array(np.asarray([origin.size for origin in origins], np.int32).reshape(-1), pa.int32())
    table = pa.table(
        {
            "key": pa.array([origin.key for origin in origins], pa.string()),
            "view": pa.array([origin.view for origin in origins], pa.int32()),
            "ids": pa.FixedSizeListArray.from_arrays(flat, width),
            "length": pa.array([facts.settings.num_tokens] * len(origins), pa.int32()),
            "size": pa.FixedSizeListArray.from_arrays(size, 2),
            "box": pa.FixedSizeListArray.from_arrays(box, 4),
            "mirrored": pa.array([origin.mirrored for origin in origins], pa.bool_()),
            "class": pa.array([origin.label for origin in origins], pa.int64()),
            "caption": pa.array([origin.caption for origin in origins], pa.string()),
        }
    ).replace_schema_metadata({METADATA: facts.model_dump_json()})
    with atomic_file(file) as out:
        pq.write_table(table, out, compression="zstd", use_dictionary=["caption"], write_statistics=False)


def read_facts(file: Path) -> tuple[ShardFacts, int]:
    """What a shard says of itself, and its number of strings; the strings are not read.

    Raises:
        DataError: missing, half-written, or something else.
    """
    pa, pq = _arrow()
    try:
        with pq.ParquetFile(file) as table:
            text, rows = (table.schema_arrow.metadata or {}).get(METADATA.encode()), table.metadata.num_rows
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(file, error) from None
    if text is None:
        raise DataError(f"{file}: not a shard of token strings, its metadata have no {METADATA!r}")
    return parsed(ShardFacts, text, file), rows


def read_strings(file: Path, facts: ShardFacts) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """All strings of a shard.

    Returns:
        keys; ids (strings, positions, codebooks) of the smallest type; lengths (strings,) int32; classes (strings,) int64, -1 for none.

    Raises:
        DataError: damaged, ids that no codebook has, or lengths that the strings do not have.
    """
    pa, pq = _arrow()
    settings = facts.settings
    sizes = tuple(settings.spec["codebook_sizes"])
    try:
        table = pq.read_table(file, columns=["key", "ids", "length", "class"])
        column = table.column("ids").combine_chunks()
        ids = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, settings.num_tokens, len(sizes))
        lengths = table.column("length").to_numpy()
        classes = table.column("class").fill_null(-1).to_numpy()
        keys = table.column("key").to_pylist()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException) as error:
        raise _damaged(file, error) from None
    if ids.dtype.kind != "u" or not len(ids) == len(keys) == len(lengths):
        raise DataError(f"{file}: ids of type {ids.dtype}, expected {id_type(sizes)}; was it made by another version?")
    if len(ids) and (ids.reshape(-1, len(sizes)).max(0) >= np.asarray(sizes, np.uint64)).any():
        raise DataError(f"{file}: holds the id {ids.max()}, which no codebook of {', '.join(map(str, sizes))} codes has; make it anew")
    if len(lengths) and not 1 <= lengths.min() <= lengths.max() <= settings.num_tokens:
        raise DataError(f"{file}: lengths are 1 to {settings.num_tokens}, found {lengths.min()} to {lengths.max()}")
    return keys, ids, lengths, classes


def sha256_of(file: Path) -> str:
    """SHA-256 of a file in hex.

    Raises:
        DataError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while block := opened.read(_BYTES_AT_ONCE):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); run vtok tokenize again") from None
    return digest.hexdigest()


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError('token shards need pyarrow; install it with: pip install "vtok[train]"') from None
    return pa, pq


def _damaged(file: Path, error: Exception) -> DataError:
    reason = str(error).strip().partition("\n")[0][:200]
    return DataError(f"{file}: not a whole shard of token strings ({reason}); remove it and run vtok tokenize again")
