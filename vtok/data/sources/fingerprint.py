"""Whether a data set is still the one that was read before, told without reading it."""

import hashlib
from pathlib import Path

from vtok.data.files import expand_home, expand_pattern, find_files, is_pattern, look_at
from vtok.data.pictures import PICTURE_EXTENSIONS
from vtok.data.sources.cache_names import MANIFEST

_EXTENSIONS = PICTURE_EXTENSIONS | {".tar", ".parquet", ".safetensors", ".txt", ".npz"}


def fingerprint(path: str | Path) -> str:
    """SHA-256 in hex of the names, sizes and times of change of the files that a data set may be read from.

    Raises:
        DataError: a folder that cannot be listed.
    """
    place = expand_home(path)
    files = _files(place)
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(f"{file.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files(place: Path) -> list[Path]:
    if look_at(place) == "folder":
        manifest = place / MANIFEST
        return [*find_files(place, _EXTENSIONS), *([manifest] if manifest.is_file() else [])]
    matches = expand_pattern(str(place)) if is_pattern(str(place)) and look_at(place) == "nothing" else [place]
    return [file for match in matches for file in (_files(match) if match.is_dir() else [match])]
