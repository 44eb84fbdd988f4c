"""`log.jsonl`: one JSON object a line, appended; cut back to the checkpoint when a run goes on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vtok.data.atomic import write_bytes
from vtok.errors import OutputError


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a line; it is on its way to the disk when this returns.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines; none where there is no file."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the last line of a killed process
        if isinstance(entry, dict) and "step" in entry:
            entries.append(entry)
    return entries


def cut(path: Path, step: int) -> None:
    """Remove what came after `step` steps, and half a line."""
    if path.exists():
        kept = [entry for entry in read(path) if entry["step"] <= step]
        write_bytes(path, "".join(json.dumps(entry) + "\n" for entry in kept).encode())
