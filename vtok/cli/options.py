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
OverlapOption = Annotated[
    int | None,
    typer.Option(
        "--overlap", min=0, show_default=False, help="Pixels by which neighbouring tiles overlap and are blended; default: the model's own."
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME|PATH", help="Weights: a name of `vtok models`, a folder, a hub id, or a published file."),
]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where to compute; auto takes a GPU when there is one.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write one JSON object a line to standard output.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show only what went wrong.")]
_FLOW = "for models with a flow decoder; default: the model's own."
StepsOption = Annotated[int | None, typer.Option("--steps", show_default=False, help=f"Steps of the solver, {_FLOW}")]
SolverOption = Annotated[str | None, typer.Option("--solver", metavar="NAME", help=f"Solver, such as euler or heun, {_FLOW}")]
GuidanceOption = Annotated[float | None, typer.Option("--guidance", show_default=False, help=f"Scale of guidance, 1 is none, {_FLOW}")]
GuidanceRuleOption = Annotated[str | None, typer.Option("--guidance-rule", metavar="cfg|apg", help=f"How guidance is applied, {_FLOW}")]
SeedOption = Annotated[
    int | None, typer.Option("--seed", show_default=False, help="Seed of the noise, for models with a flow decoder; default: 0.")
]
