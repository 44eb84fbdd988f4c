"""`vtok codebook`: how a data set uses a model's codes."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtok.cli.cache_latents import Kind, Split
from vtok.cli.jobs import Job, Jobs, check_folders
from vtok.cli.loading import Loader
from vtok.cli.options import Device, DeviceOption, JsonOption
from vtok.cli.pipes import say, tell
from vtok.cli.report import SOME_FAILED, Report, json_line
from vtok.errors import DataError, OutputError, PictureError

if TYPE_CHECKING:
    from vtok.data.sources import Source
    from vtok.eval.codes.codebook import CodebookStatistics, CodebookUse
    from vtok.tokenizers.base import Tokenizer

_WIDE = 0.1  # bits: where few strings may hide more of an entropy, the table says what helps
_FIGURES = {  # name, width and form of each column
    "used": ("used", 10, ","),
    "usage": ("usage", 9, ".1%"),
    "entropy_bits": ("entropy", 9, ".2f"),
    "perplexity": ("perplexity", 14, ",.1f"),
}


def codebook(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name of `vtok models`, a folder, a hub id, or a published file.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="A folder, tars or parquet tables of pictures.", show_default=False)],
    count: Annotated[int | None, typer.Option(min=1, show_default=False, help="Pictures, evenly spaced in DATA; default: all.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures that are encoded, or codes that are decoded, together.")] = 16,
    whole: Annotated[bool, typer.Option("--whole", help="Whole pictures, resized, in place of the squares in their middle.")] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw codes decoded alone beside usage and entropy by position.")
    ] = None,
    codes: Annotated[int, typer.Option(min=1, max=1024, help="Codes of each codebook to draw, the most used first.")] = 64,
    kind: Annotated[Kind, typer.Option(help="What DATA is; auto looks.")] = Kind.auto,
    split: Annotated[Split, typer.Option(help="All pictures, or the part to train on or to hold out.")] = Split.all,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
) -> None:
    """Show how pictures use a model's codes: usage, entropy, dead codes, and what an entropy coder could save.

    Each picture gives one string.

    Example: vtok codebook photo64 Pictures --plot codes.png
    """
    if plot is not None:
        _check_plot(plot, data)
    from vtok.data.pictures import write_picture
    from vtok.data.sources import open_source
    from vtok.eval.codes.codebook_sheet import MOST_CODEBOOKS, draw
    from vtok.eval.codes.lone_codes import decode_each

    source = open_source(data, kind=kind.value, split=split.value)
    tokenizer = Loader(model, device).tokenizer
    num_pictures = min(count or len(source), len(source))
    num_codes = [] if plot is None else [min(codes, size) for size in tokenizer.spec.codebook_sizes[:MOST_CODEBOOKS]]
    with Report(1, several=False, as_json=as_json, quiet=False) as report:
        advance = steps(report.watch(), num_pictures + sum(num_codes))
        statistics, failures = _count(tokenizer, source, num_pictures, batch, whole=whole, advance=advance)
        use = statistics.compute()
        if plot is not None:
            drawn = decode_each(tokenizer, statistics, num_codes, batch, advance)
            write_picture(plot, draw(use, drawn, f"{Path(model).name} on {Path(data).name}, {use.num_strings:,} strings"))
    record = {"model": model, "data": data, "plot": None if plot is None else str(plot), "failed": len(failures)} | _record(use)
    say(json_line(record) if as_json else "\n".join(_table(record)))
    if failures:
        tell(f"vtok: {len(failures)} of {num_pictures} pictures failed:")
        for reason in failures:
            tell(f"  {reason}")
        raise typer.Exit(SOME_FAILED)


def _check_plot(plot: Path, data: str) -> None:
    """Refuse, before the work, what cannot be drawn or written, or would replace a file that is to be read."""
    from vtok.data.files import expand_home, expand_pattern, look_at
    from vtok.data.pictures import check_writable
    from vtok.eval.codes.codebook_sheet import check_drawable

    check_drawable()
    check_writable(plot)
    check_folders(Jobs((Job(None, plot),), several=False), str(plot))
    if look_at(plot) == "nothing":
        return
    place, target = expand_home(data), plot.resolve()
    files = [place] if place.exists() else expand_pattern(str(place))
    if any(file.resolve() in (target, *target.parents) for file in files):
        raise OutputError(f"{plot}: would replace a file of the data set {data}; choose another name or place")


def steps(tell_share: Callable[[float], None], total: int) -> Callable[[], None]:
    """What is to be called after each of `total` equal parts of the work."""
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        tell_share(done / total)

    return advance


def _count(
    tokenizer: "Tokenizer", source: "Source", num_pictures: int, batch: int, *, whole: bool, advance: Callable[[], None]
) -> "tuple[CodebookStatistics, list[str]]":
    """Counts over one string a picture, of evenly spaced pictures, and what is wrong with those that cannot be read."""
    import numpy as np

    from vtok.codec.decompress import device_of
    from vtok.data.crops import center_tile, resize
    from vtok.data.eight_bit import from_eight_bit
    from vtok.eval.codes.codebook import CodebookStatistics

    statistics = CodebookStatistics(tokenizer.spec.codebook_sizes, tokenizer.spec.max_tokens)
    device, failures, waiting = device_of(tokenizer), [], []
    for number in range(num_pictures):
        try:
            pixels = source[number * len(source) // num_pictures].pixels
            waiting.append(resize(pixels, *tokenizer.spec.input_size) if whole else center_tile(pixels, tokenizer.spec.input_size))
        except PictureError as error:
            failures.append(" ".join(str(error).split()))
        if len(waiting) == batch or (waiting and number == num_pictures - 1):
            statistics.update(tokenizer.encode(from_eight_bit(np.stack(waiting)).to(device)).ids)
            waiting = []
        advance()
    if len(failures) == num_pictures:
        raise DataError(f"{source.name}: no picture could be read; {failures[0]}")
    return statistics, failures


def _record(use: "CodebookUse") -> dict[str, Any]:
    least, most = use.saved_bits
    string_least, string_most = use.saved_bits_of_string
    figures = {
        "used": use.used,
        "usage": use.usage,
        "entropy_bits": use.entropy_bits,
        "entropy_shortfall": use.entropy_shortfall,
        "perplexity": use.perplexity,
        "saved_bits_least": least,
        "saved_bits_most": most,
    }
    values = {name: tensor.tolist() for name, tensor in figures.items()}
    places = [(position, k) for position in range(len(use.strings)) for k in range(len(use.codebook_sizes))]
    return {
        "strings": use.num_strings,
        "codebook_sizes": use.codebook_sizes,
        "dead": use.num_dead,
        "stored_bits": len(use.strings) * int(use.stored_bits.sum()),
        "saved_bits_least": string_least,
        "saved_bits_most": string_most,
        "rows": [
            {"position": position + 1, "codebook": k + 1} | {name: value[position][k] for name, value in values.items()}
            for position, k in places
        ],
    }


def _table(record: dict[str, Any]) -> list[str]:
    """A line for each position and codebook, then what holds for all of them."""
    sizes, strings, stored = record["codebook_sizes"], record["strings"], record["stored_bits"]
    least, most = record["saved_bits_least"], record["saved_bits_most"]
    places = ("position",) if len(sizes) == 1 else ("position", "codebook")
    head = "".join([f"{name:>9}" for name in places] + [f"{name:>{width}}" for name, width, _ in _FIGURES.values()])
    lines = [head + "   could save bits"]
    for row in record["rows"]:
        cells = [f"{row[name]:>9}" for name in places] + [f"{row[key]:>{width}{form}}" for key, (_, width, form) in _FIGURES.items()]
        lines.append("".join(cells) + f"{row['saved_bits_least']:>9.2f} to {row['saved_bits_most']:.2f}")
    for k, (size, dead) in enumerate(zip(sizes, record["dead"], strict=True)):
        of = "" if len(sizes) == 1 else f" of codebook {k + 1}"
        lines.append(f"Dead, used at no position: {dead:,} of {size:,} codes{of}")
    lines.append(
        f"An order-0 entropy coder that knows all shares could save {least:,.1f} to {most:,.1f} of the {stored:,} bits of a string"
        f" ({least / stored:.1%} to {most / stored:.1%})"
    )
    shortfall = max(row["entropy_shortfall"] for row in record["rows"])
    lines.append(
        f"Counted on {strings:,} string{'s' * (strings != 1)}: entropy so measured is too low by up to {shortfall:.2f} bits in the mean,"
        f" which the ranges allow for{'; more pictures narrow them' if shortfall > _WIDE else ''}"
    )
    return lines if record["plot"] is None else [*lines, f"The picture of the codes: {record['plot']}"]
