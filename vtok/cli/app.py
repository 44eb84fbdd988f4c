"""The program `vtok`: its commands, and the one place that turns an error into a line and an exit code."""

import errno
from typing import Annotated

import typer

from vtok.cli.bench_codecs import bench_codecs
from vtok.cli.cache_latents import cache_latents
from vtok.cli.codebook import codebook
from vtok.cli.compare import compare
from vtok.cli.convert import convert
from vtok.cli.decode import decode
from vtok.cli.encode import encode
from vtok.cli.eval import evaluate
from vtok.cli.generate import generate
from vtok.cli.info import info
from vtok.cli.models import models
from vtok.cli.pipes import say, silence_stdout, tell
from vtok.cli.probe import probe
from vtok.cli.recipes import recipes
from vtok.cli.stats import stats
from vtok.cli.tokenize import tokenize
from vtok.cli.train import train
from vtok.cli.truncate import truncate
from vtok.errors import VtokError

USER_ERROR = 2
_NAMES = frozenset({errno.ENAMETOOLONG, errno.ELOOP})
_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE})

app = typer.Typer(
    name="vtok",
    help="Pictures to short strings of tokens and back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (
    encode,
    decode,
    info,
    truncate,
    compare,
    models,
    convert,
    recipes,
    train,
    cache_latents,
    tokenize,
    generate,
    codebook,
    bench_codecs,
    stats,
    probe,
):
    app.command()(_command)
app.command("eval")(evaluate)


def _version(asked: bool) -> None:
    if asked:
        from vtok import __version__

        say(f"vtok {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")] = False,
) -> None:
    """Pictures to short strings of tokens and back: any prefix of a string decodes to a coarser picture."""


def main() -> None:
    """Run the program and leave with its exit code: 0 good, 1 a bug, 2 the user's input, 3 some of several files failed, 130 stopped."""
    try:
        app()
    except VtokError as error:
        _leave(str(error))
    except OSError as error:
        if error.errno not in _MACHINE | _NAMES:
            raise
        silence_stdout()
        _leave(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))


def _leave(message: str) -> None:
    tell(f"vtok: {' '.join(message.split())}")
    raise SystemExit(USER_ERROR) from None
