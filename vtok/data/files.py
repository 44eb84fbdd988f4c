"""Which files a folder or a pattern stands for."""

import glob
import logging
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from vtok.errors import DataError

_log = logging.getLogger(__name__)

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST_EXPANSIONS = 1_000_000
_ANY_DEPTH = "**"


def find_files(folder: Path, extensions: frozenset[str]) -> list[Path]:
    """All files under a folder with one of the extensions (lower case, with the dot), sorted by path.

    Folders are searched to any depth, links to folders too, but each only once; hidden files and folders are left out.

    Raises:
        DataError: the folder itself cannot be listed; folders below it that cannot are logged and left out.
    """
    try:
        with os.scandir(folder):
            pass
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from error
    return sorted(path for path in _walk(folder) if path.suffix.lower() in extensions)


def _walk(folder: Path) -> Iterator[Path]:
    for parent, files in _folders(folder):
        yield from (parent / name for name in files if not name.startswith("."))


def _folders(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder from here down, once, with the names of its files."""
    seen: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_log_unlisted):
        status = Path(parent).stat()
        new = (status.st_dev, status.st_ino) not in seen
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if new and not name.startswith("."))
        if new:
            yield Path(parent), files


def _log_unlisted(error: OSError) -> None:
    _log.warning("%s: cannot be listed (%s), left out", error.filename, error.strerror)


def is_pattern(text: str) -> bool:
    """Whether the text has wildcards (`*`, `?`, `[...]`) or braces (`{000..127}`, `{a,b}`)."""
    return glob.has_magic(text) or _BRACES.search(text) is not None


def expand_pattern(pattern: str) -> list[Path]:
    """The existing files and folders that a pattern of wildcards and braces stands for, sorted, each once.

    Raises:
        DataError: a name that braces stand for does not exist (a missing shard), or braces that stand for more than a million names.
    """
    return sorted({Path(match) for text in _expand_braces(pattern) for match in _matches(text, pattern)})


def fixed_folder(pattern: str) -> Path:
    """The folder that all matches of a pattern are in: its parts before the first wildcard or brace."""
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if is_pattern(part)), len(parts))
    return Path(*parts[: min(fixed, len(parts) - 1)])


def look_at(path: Path) -> Literal["file", "folder", "nothing"]:
    """What is at a path; a device or a pipe counts as a file.

    Raises:
        DataError: it cannot be told, for lack of permission or since the name is too long.
    """
    try:
        return "folder" if stat.S_ISDIR(path.stat().st_mode) else "file"
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be looked at ({error})") from error


def expand_home(path: str | Path) -> Path:
    """The path with a leading `~` or `~user` replaced; as it is where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def shown_name(name: str) -> str:
    """A file's name for a message: line breaks, other control characters and bytes that are no text become `?`."""
    return "".join("?" if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in name)


def absolute(path: Path) -> Path:
    """The path from the root of the file system, without `.` and `..`; links are not followed."""
    return Path(os.path.normpath(path.absolute()))


def _matches(text: str, pattern: str) -> list[str]:
    if glob.has_magic(text):
        return _glob(Path(text))
    if look_at(Path(text)) == "nothing":
        raise DataError(f"{text}: no such file, one of those that {pattern} stands for")
    return [text]


def _glob(pattern: Path) -> list[str]:
    """As `glob.glob`, but `**` enters each folder once: where links make a circle, that one goes round and round."""
    if _ANY_DEPTH not in pattern.parts:
        return glob.glob(str(pattern))  # noqa: PTH207, since Path.glob takes no absolute pattern
    place = pattern.parts.index(_ANY_DEPTH)
    roots = [Path(match) for match in _glob(Path(*pattern.parts[:place]))]
    rest = pattern.parts[place + 1 :]
    if not rest:
        return [str(root) for root in roots if root.is_dir()]
    below = (Path(glob.escape(str(folder)), *rest) for root in roots for folder, _ in _folders(root))
    return [match for inner in below for match in _glob(inner)]


def _expand_braces(pattern: str) -> list[str]:
    done, waiting = [], [pattern]
    while waiting:
        text = waiting.pop()
        braces = _BRACES.search(text)
        if braces is None:
            done.append(text)
            continue
        choices = _choices(braces[1])
        if len(done) + len(waiting) + len(choices) > _MOST_EXPANSIONS:
            raise DataError(f"{pattern}: its braces stand for more than {_MOST_EXPANSIONS:,} names; use a wildcard")
        waiting += [text[: braces.start()] + choice + text[braces.end() :] for choice in choices]
    return done


def _choices(inside: str) -> list[str]:
    numbers = _RANGE.fullmatch(inside)
    if numbers is None:
        return inside.split(",")
    first, last = int(numbers[1]), int(numbers[2])
    if abs(last - first) > _MOST_EXPANSIONS:
        raise DataError(f"{{{inside}}}: stands for more than {_MOST_EXPANSIONS:,} names; use a wildcard")
    width = max(len(numbers[1]), len(numbers[2])) if numbers[1].startswith("0") else 1
    step = 1 if first <= last else -1
    return [f"{number:0{width}d}" for number in range(first, last + step, step)]
