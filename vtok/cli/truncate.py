"""`vtok truncate`: a shorter .vtok file from a longer one, without a model."""

from pathlib import Path
from typing import Annotated

import typer

from vtok.cli.facts import read_tokens
from vtok.cli.jobs import Job
from vtok.cli.options import QuietOption
from vtok.cli.pipes import PIPE, tell, write_stdout


def truncate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A .vtok file, or - for standard input.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The file to write, or - for standard output.")],
    tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens to keep of each tile.")] = None,
    num_bytes: Annotated[int | None, typer.Option("--bytes", min=1, help="Most bytes of the new file.")] = None,
    quiet: QuietOption = False,
) -> None:
    """Shorten a .vtok file to a coarser picture. Needs no weights and loses nothing of the tokens that stay.

    Example: vtok truncate photo.vtok -o small.vtok --tokens 16
    """
    from vtok.codec.container import write
    from vtok.codec.truncate import truncate as shorten

    if (tokens is None) == (num_bytes is None):
        raise typer.BadParameter("give one of --tokens and --bytes")
    job = Job(None if file == PIPE else Path(file), None if output == PIPE else Path(output))
    longer, _ = read_tokens(job)
    shorter = shorten(longer, tokens=tokens, num_bytes=num_bytes)
    if job.target is None:
        write_stdout(shorter.to_bytes())
    else:
        write(job.target, shorter)
    if not quiet:
        mean = float(shorter.lengths.mean())
        tell(f"{job.name} -> {output}: {mean:.4g} token{'s' * (mean != 1)} a tile, {shorter.num_bytes:,} bytes")
