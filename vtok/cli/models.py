"""`vtok models`: the table of published weights."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from vtok.cli.options import JsonOption
from vtok.cli.pipes import say
from vtok.cli.report import json_line

if TYPE_CHECKING:
    from vtok.weights.table import Weights


def models(
    as_json: JsonOption = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write the page docs/models.md, which says more of each.")] = False,
) -> None:
    """List the weights that --model takes by name.

    Example: vtok models
    """
    from vtok.weights.table import DEFAULT, TABLE

    if markdown:
        from vtok.weights.page import models_page

        say(models_page().rstrip("\n"))
        return
    for row in TABLE.values():
        say(json_line(asdict(row) | {"default": row.name == DEFAULT}) if as_json else "\n  ".join(_lines(row)))


def _lines(row: "Weights") -> list[str]:
    from vtok.weights.table import DEFAULT, Bundled

    name = f"{row.name}{' (default)' if row.name == DEFAULT else ''}"
    place = "in the package" if isinstance(row.source, Bundled) else f"{row.source.repo} on the hub"
    rfid = "" if row.rfid is None else f", published rFID {row.rfid:.2f}"
    made = "" if row.tokenizer is None else f", a generator of the strings of {row.tokenizer}"
    gfid = "" if row.gfid is None else f", published FID {row.gfid:.2f}"
    digest = "" if row.digest is None else f", code digest {row.digest[:8]}"
    about = f"{row.note or row.official}; family {row.family}{made}{rfid}{gfid}{digest}"
    return [name, about, f"{place}; licence of the weights: {row.licence}{f'; {row.terms}' if row.terms else ''}"]
