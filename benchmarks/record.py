"""What every result says beside its figures, and how it is printed and kept."""

import importlib.metadata
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtok.data.atomic import write_bytes

if TYPE_CHECKING:
    from vtok.tokenizers.base import Tokenizer

Row = dict[str, float]  # one line of a table

_LIBRARIES = ("vtok", "torch", "numpy", "pillow", "lpips")
_LINE = 240


def head(benchmark: str) -> dict[str, Any]:
    """The part that all results start with: which script, how it was called, on what machine."""
    return {"benchmark": benchmark, "command": command(benchmark, sys.argv[1:]), "machine": machine()}


def command(benchmark: str, arguments: Sequence[str]) -> str:
    """The command line; of an absolute path only the name, since where it lies is the caller's own affair."""
    shown = (Path(text).name if Path(text).is_absolute() else text for text in arguments)
    return f"python -m benchmarks.{benchmark} {shlex.join(shown)}".strip()


def machine() -> dict[str, Any]:
    """Processor, cores, threads, versions and the date."""
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES},
        "date": datetime.now(UTC).date().isoformat(),
    }


def model_facts(tokenizer: "Tokenizer", name: str | None) -> dict[str, Any]:
    """Which weights: the name they were loaded by (of a folder its last part) and the digest of their codes."""
    return {
        "name": Path(name).name if name else "default",
        "family": tokenizer.family,
        "max_tokens": tokenizer.spec.max_tokens,
        "code_digest": tokenizer.code_digest,
    }


def mean_rows(tables: Sequence[Sequence[Row]]) -> list[Row]:
    """The mean of each number over pictures, row by row; tables of one shape."""
    return [{key: round(sum(row[key] for row in rows) / len(rows), 6) for key in rows[0]} for rows in zip(*tables, strict=True)]


def report(result: dict[str, Any], output: Path | None) -> None:
    """Print a result as JSON, and write it to a file when one is named."""
    text = to_text(result)
    sys.stdout.write(text)
    if output is not None:
        write_bytes(output, text.encode())


def to_text(result: dict[str, Any]) -> str:
    """JSON, indented by one, innermost lists and objects on a line of their own where they fit."""

    def joined(part: re.Match[str]) -> str:
        line = re.sub(r"\n\s*", " ", part[0])
        return line if len(line) <= _LINE else part[0]

    return re.sub(r"[\[{][^\[\]{}]*[\]}]", joined, json.dumps(result, indent=1)) + "\n"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
