"""`vtok train`: a recipe to a model folder."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vtok.cli.options import QuietOption
from vtok.cli.pipes import say, tell

STOPPED = 130  # what a program gets that an interrupt ends


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A name of `vtok recipes`, or a .toml file.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe; may be repeated.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Model folder to write; default: RECIPE-run.")] = None,
    overfit: Annotated[
        int | None, typer.Option("--overfit", metavar="N", min=1, help="Train on N pictures alone, to see whether training works.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Train a tokenizer or a generator by a recipe and write its model folder.

    The same command on the folder of a run that was cut off goes on from its last checkpoint.

    Example: vtok train photo64 --set data.path=Pictures -o my-model
    """
    from vtok.train.config import load_config

    own = [] if overfit is None else [f"train.overfit={overfit}"]
    config = load_config(recipe, [*(overrides or ()), *own])
    from vtok.generate.objectives import TABLE as GENERATORS
    from vtok.train import run  # torch: only once the recipe is known to be good
    from vtok.train.engine.stop import StoppedError
    from vtok.train.objectives import TABLE

    speaks = os.environ.get("RANK", "0") == "0"  # of several processes, the first
    with _news(logging.INFO if speaks and not quiet else logging.WARNING):
        try:
            folder = run(config, TABLE | GENERATORS, output or Path(f"{Path(recipe).stem}-run"), show_progress=speaks and not quiet)
        except StoppedError as stop:
            if speaks:
                tell(f"vtok: {stop}")
            raise typer.Exit(STOPPED) from None
    if speaks:
        say(str(folder))


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell(self.format(record))


@contextmanager
def _news(level: int) -> Iterator[None]:
    """Let what the package logs appear on standard error."""
    handler, logger = _Lines(), logging.getLogger("vtok")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
