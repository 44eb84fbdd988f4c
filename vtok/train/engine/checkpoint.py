"""Checkpoints on disk: `step-00000500/` with `state.safetensors` and `state.json`, whole or not at all, nothing pickled."""

import json
import logging
import re
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vtok.data.atomic import atomic_folder
from vtok.errors import TrainingError
from vtok.tokenizers.folder import write_tensors

log = logging.getLogger(__name__)

FORMAT = 1
TENSORS, FACTS = "state.safetensors", "state.json"
_NAME = re.compile(r"step-(\d{8,})")
_BYTES_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A run as it stood.

    Args:
        step: steps done.
        tensors: by name.
        facts: what is no tensor, as JSON has it.
    """

    step: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


class _DamagedError(Exception):
    pass


def save(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint into `folder`, then remove all but the newest `keep`.

    Raises:
        OutputError: it cannot be written.
    """
    path = _path(folder, checkpoint.step)
    with atomic_folder(path) as part:
        write_tensors(part / TENSORS, checkpoint.tensors)
        head = {"vtok": FORMAT, "step": checkpoint.step, "crc32": _crc32(part / TENSORS)}
        (part / FACTS).write_text(json.dumps(head | dict(checkpoint.facts)) + "\n", encoding="utf-8")
    for old in _newest_first(folder)[keep:]:
        _remove(old)
    return path


def last_whole(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that can be read. Newer ones that cannot get another name, which a warning tells. None where there are none.

    Raises:
        TrainingError: there are some, all damaged.
    """
    damaged: list[Path] = []
    for path in _newest_first(folder):
        try:
            found = _read(path)
        except _DamagedError as error:
            log.warning("%s is damaged (%s); taking the one before", path, error)
            damaged.append(path)
            continue
        for other in damaged:  # it is neither to be kept in the place of a good one nor to be told as one
            place = other.with_name(f"{other.name}.damaged")
            shutil.rmtree(place, ignore_errors=True)
            other.rename(place)
        return found
    if damaged:
        raise TrainingError(f"{folder}: none of {len(damaged)} checkpoints can be read; remove the folder to begin again from the start")
    return None


def read(folder: Path, step: int) -> Checkpoint:
    """One checkpoint, known to be whole.

    Raises:
        TrainingError: it cannot be read after all.
    """
    try:
        return _read(_path(folder, step))
    except _DamagedError as error:
        raise TrainingError(f"{_path(folder, step)} cannot be read ({error}); do all processes see the same folder?") from None


def newest(folder: Path) -> Path | None:
    """Where the newest checkpoint lies, unread."""
    return next(iter(_newest_first(folder)), None)


def step_of(path: Path) -> int:
    """Steps done when the checkpoint at `path` was written."""
    return int(path.name.removeprefix("step-"))


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def _newest_first(folder: Path) -> list[Path]:
    found = {int(match[1]): path for path in folder.glob("step-*") if (match := _NAME.fullmatch(path.name))}
    return [found[step] for step in sorted(found, reverse=True)]


def _remove(path: Path) -> None:
    """Under another name first, so that a crash in between leaves no half checkpoint."""
    doomed = path.with_name(f"{path.name}.old.part")
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _read(path: Path) -> Checkpoint:
    try:
        facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or not {"vtok", "step", "crc32"} <= facts.keys():
            raise _DamagedError(f"{FACTS} is not that of a checkpoint")
        if facts.pop("vtok") != FORMAT:
            raise _DamagedError(f"{FACTS} is of another version")
        if facts.pop("crc32") != _crc32(path / TENSORS):
            raise _DamagedError(f"{TENSORS} has a wrong checksum")
        return Checkpoint(facts.pop("step"), load_file(path / TENSORS), facts)
    except (OSError, ValueError, SafetensorError) as error:
        raise _DamagedError(" ".join(str(error).split())[:200]) from None


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(_BYTES_AT_ONCE):
            value = zlib.crc32(block, value)
    return value
