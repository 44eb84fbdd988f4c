"""`vtok info`: what a .vtok file holds, read without its model."""

from typing import TYPE_CHECKING, Annotated, Any

from vtok.cli.facts import TOKEN_EXTENSIONS, in_words, read_tokens, token_facts
from vtok.cli.jobs import plan_jobs
from vtok.cli.options import Inputs, JsonOption
from vtok.cli.pipes import say
from vtok.cli.report import Report
from vtok.errors import VtokError

if TYPE_CHECKING:
    from vtok.codec.container import TokenFile


def info(
    files: Annotated[list[str], Inputs],
    as_json: JsonOption = False,
) -> None:
    """Show size, tokens, bytes and model of .vtok files. Needs no weights.

    Example: vtok info photo.vtok
    """
    plan = plan_jobs(files, None, extensions=TOKEN_EXTENSIONS, suffix=".png")
    with Report(len(plan.jobs), several=plan.several, as_json=as_json, quiet=True) as report:
        for job in plan.jobs:
            try:
                record = {"file": job.name} | _record(*read_tokens(job))
            except VtokError as error:
                report.failed(job, error)
                continue
            if as_json:
                report.done(record, "")
            else:
                say("\n".join(_lines(record)))
        report.finish()


def _record(file: "TokenFile", num_bytes: int) -> dict[str, Any]:
    spec, lengths = file.spec, file.lengths
    payload_bytes = None if file.cut else file.header.payload_size
    return token_facts(file, lengths) | {
        "rows": file.grid[0],
        "columns": file.grid[1],
        "whole": file.whole,
        "bytes": num_bytes,
        "header_bytes": None if payload_bytes is None else num_bytes - payload_bytes,
        "payload_bytes": payload_bytes,
        "bpp": 8 * num_bytes / (file.size[0] * file.size[1]),
        "bits": int(lengths.sum()) * spec.stored_bits,
        "tile_height": spec.input_size[0],
        "tile_width": spec.input_size[1],
        "max_tokens": spec.max_tokens,
        "nested": spec.nested,
        "codebook_sizes": spec.codebook_sizes,
        "stored_bits": spec.stored_bits,
        "digest": file.digest.hex(),
        "model": _model_name(file.digest),
        "caption": file.caption,
        "cut": file.cut,
    }


def _model_name(digest: bytes) -> str | None:
    from vtok.weights.table import name_of

    return name_of(digest)


def _lines(record: dict[str, Any]) -> list[str]:
    from vtok.data.files import shown_name

    tile = f"{record['tile_width']} x {record['tile_height']}"
    grid = f"the whole picture resized to {tile}" if record["whole"] else f"{record['rows']} rows, {record['columns']} columns of {tile}"
    grid += f", overlapping by {record['overlap']} pixel{'s' * (record['overlap'] > 1)}" if record["overlap"] else ""
    codes = " + ".join(f"{size:,}" for size in record["codebook_sizes"])
    prefixes = "any prefix decodes" if record["nested"] else "not every prefix decodes"
    parts = "" if record["cut"] else f"; header {record['header_bytes']:,}, tokens {record['payload_bytes']:,}"
    lines = {
        "picture": in_words(record),
        "tiles": grid,
        "token": f"{record['stored_bits']} bits of {codes} codes; up to {record['max_tokens']} tokens a tile, {prefixes}",
        "size": f"{record['bytes']:,} bytes, {record['bpp']:.3g} bpp{parts}",
        "model": f"{record['model'] or 'not one of `vtok models`'}, code digest {record['digest']}",
        "caption": record["caption"],
        "state": "cut: shown are the tokens left" if record["cut"] else "whole, checksums right",
    }
    told = [f"  {name:8} {' '.join(text.split())}" for name, text in lines.items() if text is not None]
    return [shown_name(line) for line in (record["file"], *told)]
