"""`vtok models`: the table of published weights."""

from dataclasses import asdict

from vtok.cli.options import JsonOption
from vtok.cli.pipes import say
from vtok.cli.report import json_line


def models(as_json: JsonOption = False) -> None:
    """List the weights that --model takes by name.

    Example: vtok models
    """
    from vtok.weights.table import DEFAULT, TABLE, Hub

    for row in TABLE.values():
        if as_json:
            say(json_line(asdict(row) | {"default": row.name == DEFAULT}))
            continue
        place = f"{row.source.repo} on the hub" if isinstance(row.source, Hub) else "in the package"
        say(f"{row.name}{' (default)' if row.name == DEFAULT else ''}")
        say(f"  {row.note}")
        say(f"  family {row.family}, {place}, code digest {row.digest[:8]}")
        say(f"  licence of the weights: {row.licence}{f'; {row.terms}' if row.terms else ''}")
