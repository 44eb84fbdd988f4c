"""What several commands read of a .vtok file, and how they say it."""

from typing import TYPE_CHECKING, Any, Final

from vtok.cli.jobs import Job
from vtok.cli.pipes import PIPE, read_stdin

if TYPE_CHECKING:
    from vtok.codec.container import TokenFile
    from vtok.codec.layers import Lengths

TOKEN_EXTENSIONS: Final = frozenset({".vtok"})


def read_tokens(job: Job) -> "tuple[TokenFile, int]":
    """The .vtok file of a job, or of standard input, and how many bytes it has there.

    Raises:
        FormatError: not such a file, or a damaged one.
    """
    from vtok.codec.container import TokenFile, read_bytes

    data = read_stdin() if job.source is None else read_bytes(job.source)
    return TokenFile.from_bytes(data, name=job.name), len(data)


def job_facts(job: Job) -> dict[str, Any]:
    """Names of input and output, as they are given on the command line."""
    return {"file": PIPE if job.source is None else str(job.source), "output": PIPE if job.target is None else str(job.target)}


def token_facts(file: "TokenFile", lengths: "Lengths") -> dict[str, Any]:
    """Size of the picture in pixels, number of tiles, by how many pixels they overlap, and tokens of each tile."""
    return {
        "width": file.size[1],
        "height": file.size[0],
        "tiles": len(lengths),
        "overlap": file.overlap,
        "tokens_mean": float(lengths.mean()),
        "tokens_min": int(lengths.min()),
        "tokens_max": int(lengths.max()),
    }


def in_words(facts: dict[str, Any]) -> str:
    """Size and tokens: `768 x 512 pixels, 64 tokens a tile in 96 tiles`."""
    tiles = "" if facts["tiles"] == 1 else f" a tile in {facts['tiles']:,} tiles"
    even = facts["tokens_min"] == facts["tokens_max"]
    count = str(facts["tokens_max"]) if even else f"{facts['tokens_min']} to {facts['tokens_max']}, in the mean {facts['tokens_mean']:.4g},"
    noun = "token" if facts["tokens_max"] == 1 else "tokens"
    return f"{facts['width']} x {facts['height']} pixels, {count} {noun}{tiles}"
