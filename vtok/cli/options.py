"""Options that several commands share."""

from enum import StrEnum
from typing import Annotated

import typer


class Device(StrEnum):
    """Where the networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


Inputs = typer.Argument(metavar="INPUT", help="Files, folders, patterns in quotes, or - for standard input.", show_default=False)
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME|FOLDER", help="Weights: a name of `vtok models`, a folder or a hub id.")
]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where to compute; auto takes a GPU when there is one.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write one JSON object a line to standard output.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show only what went wrong.")]
