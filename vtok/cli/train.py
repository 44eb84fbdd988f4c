"""`vtok train`: a recipe to a model folder."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vtok.cli.options import QuietOption
from vtok.cli.pipes import say, tell


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A name of `vtok recipes`, or a .toml file.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe; may be repeated.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Model folder to write; default: the recipe's name.")] = None,
    quiet: QuietOption = False,
) -> None:
    """Train a tokenizer by a recipe and write its model folder.

    Example: vtok train linear64 --set data.path=Pictures -o my-model
    """
    from vtok.train.config import load_config

    config = load_config(recipe, overrides or ())
    from vtok.train import run  # torch: only once the recipe is known to be good
    from vtok.train.objectives import TABLE

    with _news(logging.WARNING if quiet else logging.INFO):
        say(str(run(config, TABLE, output or Path(Path(recipe).stem))))


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
