"""Records of evaluations as tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def record_table(record: Mapping[str, Any]) -> list[str]:
    """A line for each length, then what belongs to the figures."""
    names = list(record["rows"][0]["metrics"])
    heads = ["tokens", "bytes", "bpp", *(_title(name) for name in names)]
    lines = [[str(row["tokens"]), *_cost(row), *(_cell(name, row["metrics"][name]) for name in names)] for row in record["rows"]]
    of_originals = [f"{name} of the originals: {_cell(name, figure)}" for name, figure in record["originals"].items()]
    return [*_columns([heads, *lines]), *of_originals, *_notes(record["rows"], names), *_codes(record), _what(record)]


def sample_table(record: Mapping[str, Any]) -> list[str]:
    """A line for each figure of a set of samples."""
    metrics = record["rows"][0]["metrics"]
    rows = [[_title(name), _cell(name, figure)] for name, figure in metrics.items()]
    return [*_columns(rows), *_notes(record["rows"], list(metrics)), _what(record)]


def _cost(row: Mapping[str, Any]) -> list[str]:
    return ["-", "-"] if row["bytes"] is None else [f"{row['bytes']:,.0f}", f"{row['bpp']:.4f}"]


def _cell(name: str, figure: Mapping[str, Any]) -> str:
    from vtok.eval.pairs.measures import TABLE

    value = figure["value"]
    if value is None:
        return "-"
    if math.isinf(value):
        return "equal"
    return format(value, TABLE[name].form if name in TABLE else _form(name))


def _form(name: str) -> str:
    return ".1%" if name.startswith(("top1", "agreement")) else ".2f" if "fid" in name or name.startswith(("fd_", "is")) else ".4f"


def _title(name: str) -> str:
    from vtok.eval.pairs.measures import TABLE

    return (
        TABLE[name].label if name in TABLE else {"rfid": "rFID", "gfid": "gFID", "sfid": "sFID", "kid": "KID", "is": "IS"}.get(name, name)
    )


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]


def _notes(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Why a figure is missing or doubtful."""
    found = []
    for name in names:
        figure = rows[-1]["metrics"][name]
        if "reason" in figure:
            found.append(f"No {_title(name)}: {figure['reason']}")
        elif figure.get("rank_deficient"):
            found.append(f"{_title(name)} of {figure['n']:,} pictures is mostly chance: fewer than its dimensions")
        elif figure.get("infinite"):
            found.append(f"{_title(name)}: {figure['infinite']:,} pictures at {rows[-1]['tokens']} tokens equal their originals")
    return found


def _codes(record: Mapping[str, Any]) -> list[str]:
    codes = record.get("codes")
    if not codes:
        return []
    lines = []
    for number, own in enumerate(codes["codebooks"], 1):
        of = "" if len(codes["codebooks"]) == 1 else f" of codebook {number}"
        figures = f"usage {own['usage']:.1%}, perplexity {own['perplexity']:,.0f}, {own['entropy_bits']:.2f} bits"
        lines.append(f"Codes{of} over {codes['strings']:,} strings: {figures}, {own['dead']:,} of {own['size']:,} never used")
    return lines


def _what(record: Mapping[str, Any]) -> str:
    data, preset = record["data"], record["protocol"]["preset"]["name"]
    size = "as they are" if data["size"] is None else f"{data['size']} x {data['size']} pixels"
    return f"{data['pictures']:,} pictures of {data['name']}, {size}, preset {preset}"
