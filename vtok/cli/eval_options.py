"""Options that `vtok eval` and `vtok stats` share."""

import os
import zipfile
from pathlib import Path
from typing import Annotated

import typer

PresetOption = Annotated[
    str,
    typer.Option("--preset", metavar="NAME", help="What is done to pictures first, and by which rules: vtok, adm, titok, llamagen, ..."),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache", metavar="FOLDER", show_default=False, help="Where unfinished work is kept; default: $VTOK_CACHE or ~/.cache/vtok."
    ),
]
CountOption = Annotated[int | None, typer.Option("--count", min=1, show_default=False, help="Pictures, evenly spaced; default: all.")]
BatchOption = Annotated[
    int | None,
    typer.Option("--batch", min=1, show_default=False, help="Pictures that are worked on together; default: 32, or 4 whole photographs."),
]
NATIVE = "native"


def cache_folder(given: Path | None) -> Path:
    """Where chunks of evaluations are kept."""
    return (given or Path(os.environ.get("VTOK_CACHE") or Path.home() / ".cache" / "vtok")).expanduser() / "eval"


def parse_size(text: str | None) -> int | None:
    """A side in pixels; None for `native` and for nothing given.

    Raises:
        typer.BadParameter: something else.
    """
    if text is None or text == NATIVE:
        return None
    if not text.isdecimal() or not int(text):
        raise typer.BadParameter(f"--size takes a side in pixels or {NATIVE}, got {text!r}")
    return int(text)


def is_stored(reference: str) -> bool:
    """Whether a reference is a file of statistics rather than pictures; one that cannot be opened counts as such, its reader says why."""
    if not reference.endswith(".npz"):
        return False
    try:
        with zipfile.ZipFile(Path(reference).expanduser()) as archive:
            return "mu.npy" in archive.namelist() or "arr_0.npy" not in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return True
