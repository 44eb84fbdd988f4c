"""All strings of a data set in memory-mapped arrays, made from its shards once: any string is found at once, and none is read in vain."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtok.data.atomic import atomic_folder
from vtok.data.files import expand_home
from vtok.data.sources.split import is_held_out
from vtok.data.token_shards.format import MANIFEST, TokenManifest, TokenSettings, id_type, read_manifest
from vtok.data.token_shards.shard import read_facts, read_strings, sha256_of
from vtok.errors import DataError, OutputError

log = logging.getLogger(__name__)

MEMORY = "memory"  # folder beside the shards
_ARRAYS = ("ids", "lengths", "classes", "held_out")
_FACTS = "whole.json"  # the last by name, so that it comes when all else is there


@dataclass(frozen=True, eq=False)
class Strings:
    """Strings at random access.

    Args:
        name: what to call the data set.
        settings: what they were made from.
        ids: (strings, positions, codebooks) of the smallest unsigned type, mapped.
        lengths: (strings,) int32.
        classes: (strings,) int64, -1 for none.
        held_out: (strings,) bool, whether the picture belongs to the held-out twentieth.
    """

    name: str
    settings: TokenSettings
    ids: np.ndarray
    lengths: np.ndarray
    classes: np.ndarray
    held_out: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def open_strings(path: str | Path) -> Strings:
    """The strings of a finished data set; the first time they are copied from its shards into arrays beside them.

    Raises:
        DataError: not finished, or a shard that is missing, damaged or another than the manifest says.
        OutputError: the arrays cannot be written beside the shards.
    """
    folder = expand_home(path)
    manifest = read_manifest(folder)
    digest = hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()
    place = folder / MEMORY
    if _digest_at(place) != digest:
        log.info("%s: %d strings of %d shards become memory-mapped arrays", folder, manifest.num_strings, len(manifest.shards))
        _make(folder, manifest, digest)
    if not manifest.num_strings:
        raise DataError(f"{folder / MANIFEST}: a data set without a string")
    try:
        arrays = {name: np.load(place / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    except (OSError, ValueError) as error:
        raise DataError(f"{place}: cannot be read ({error}); remove this folder, it is made again from the shards") from None
    if any(len(array) != manifest.num_strings for array in arrays.values()):
        raise DataError(f"{place}: does not fit {MANIFEST}; remove this folder, it is made again from the shards")
    return Strings(str(path), manifest.settings, **arrays)


def _digest_at(place: Path) -> str | None:
    try:
        facts: Any = json.loads((place / _FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts.get("manifest") if isinstance(facts, dict) else None


def _make(folder: Path, manifest: TokenManifest, digest: str) -> None:
    settings = manifest.settings
    sizes = tuple(settings.spec["codebook_sizes"])
    total, shape = manifest.num_strings, (settings.num_tokens, len(sizes))
    place = folder / MEMORY
    try:
        (place / _FACTS).unlink(missing_ok=True)  # what is replaced file by file counts as missing till the end
    except OSError as error:
        raise OutputError(f"{place}: cannot be written ({error.strerror})") from None
    with atomic_folder(place) as part:
        kinds = {"ids": (id_type(sizes), (total, *shape)), "lengths": ("int32", (total,)), "classes": ("int64", (total,))}
        arrays = {name: _open(part / f"{name}.npy", kind, of) for name, (kind, of) in kinds.items()}
        held_out = _open(part / "held_out.npy", "bool", (total,))
        done = 0
        for entry in manifest.shards:
            file = folder / entry.file
            if sha256_of(file) != entry.sha256:
                raise DataError(f"{file}: another one than {MANIFEST} says; remove it and run vtok tokenize again")
            facts, rows = read_facts(file)
            if facts.settings != settings or rows != entry.num_strings:
                raise DataError(f"{file}: a shard of other settings than {MANIFEST} says; remove it and run vtok tokenize again")
            keys, *columns = read_strings(file, facts)
            here = slice(done, done + rows)
            for array, column in zip(arrays.values(), columns, strict=True):
                array[here] = column
            held_out[here] = [is_held_out(key) for key in keys]
            done += rows
        for array in (*arrays.values(), held_out):
            array.flush()
        (part / _FACTS).write_text(json.dumps({"manifest": digest}), encoding="utf-8")


def _open(file: Path, kind: str, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    if not shape[0]:
        raise DataError(f"{file.parent.parent}: a data set without a string")
    return np.lib.format.open_memmap(file, "w+", np.dtype(kind), shape)
