"""`vtok probe`: what frozen tokens tell of a picture's class."""

import platform
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtok.cli.codebook import steps
from vtok.cli.jobs import Job, Jobs, check_folders
from vtok.cli.lengths import parse_lengths
from vtok.cli.loading import Loader
from vtok.cli.options import Device, DeviceOption, JsonOption
from vtok.cli.pipes import say, tell
from vtok.cli.report import SOME_FAILED, Report, json_line
from vtok.errors import OutputError

if TYPE_CHECKING:
    from vtok.eval.downstream.embeddings import Pooling
    from vtok.eval.downstream.labelled_strings import LabelledStrings
    from vtok.eval.downstream.probing import Blocks
    from vtok.tokenizers.latents import AnyTokenizer

_FIGURES = {"linear_top1": "linear top-1", "linear_top5": "linear top-5", "knn_top1": "k-NN top-1"}
_LIBRARIES = ("torch", "numpy", "pillow")


class Pool(StrEnum):
    """How the vectors of a string become one."""

    mean = "mean"
    concatenated = "concatenated"


def probe(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name of `vtok models`, a folder, a hub id, or a published file.")],
    train: Annotated[
        str, typer.Argument(metavar="TRAIN", help="Labelled pictures to learn from: a parquet table, tars.", show_default=False)
    ],
    valid: Annotated[str, typer.Argument(metavar="VALID", help="Labelled pictures to measure on.", show_default=False)],
    tokens: Annotated[
        str | None, typer.Option(metavar="1,4,..,all", show_default=False, help="Tokens of each string; default: 1, 2, 4, ... and all.")
    ] = None,
    pool: Annotated[Pool, typer.Option(help="The mean of a string's vectors, or all of them side by side.")] = Pool.mean,
    count: Annotated[int | None, typer.Option(min=1, show_default=False, help="Pictures of TRAIN, evenly spaced; default: all.")] = None,
    count_valid: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="Pictures of VALID, evenly spaced; default: all.")
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Whole pictures, resized, in place of the squares in their middle.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Pictures that are encoded together.")] = 16,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.json", show_default=False, help="Write the record here too.")
    ] = None,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
) -> None:
    """Show how well a linear map and nearest neighbours tell the classes of pictures from a model's frozen tokens, by length.

    Each picture gives one string.

    Example: vtok probe photo64 train.parquet valid.parquet --tokens 1,4,16,all
    """
    _check_output(output)
    from vtok import __version__
    from vtok.data.atomic import write_bytes
    from vtok.data.sources import open_source
    from vtok.eval.downstream.labelled_strings import check_labelled, read_strings

    sources = [open_source(place) for place in (train, valid)]
    for source in sources:
        check_labelled(source)
    tokenizer = Loader(model, device).model
    lengths = parse_lengths(tokens, tokenizer.spec)
    counts = [min(wanted or len(source), len(source)) for wanted, source in zip((count, count_valid), sources, strict=True)]
    with Report(1, several=False, as_json=as_json, quiet=False) as report:
        advance = steps(report.watch(), sum(counts) + len(lengths) + 1)
        learnt, measured = (
            read_strings(source, tokenizer, count=wanted, batch=batch, whole=whole, advance=advance)
            for source, wanted in zip(sources, counts, strict=True)
        )
        measured = measured.with_labels_of(learnt)
        rows = []
        for num_tokens in lengths:
            rows.append({"tokens": num_tokens} | _embedded(tokenizer, learnt, measured, num_tokens, pool.value))
            advance()
        pixels = {"name": "pixels 8x8"} | _probe(learnt.pixels(), measured.pixels(), learnt, measured)
        advance()
    record = {
        "vtok_probe": 1,
        "model": model,
        **_weights(tokenizer),
        "train": _facts(learnt),
        "valid": _facts(measured),
        "classes": learnt.num_classes,
        "crop": "whole" if whole else "center",
        "pool": pool.value,
        **_settings(),
        "rows": rows,
        "baselines": [pixels, _chance(learnt.num_classes)],
        "versions": {"python": platform.python_version(), "vtok": __version__} | {name: version(name) for name in _LIBRARIES},
    }
    if output is not None:
        write_bytes(output, (json_line(record) + "\n").encode())
    say(json_line(record) if as_json else "\n".join(_table(record)))
    _leave_with_failures(learnt, measured)


def _check_output(output: Path | None) -> None:
    """Refuse, before the work, what cannot be written; no data set is read from a .json file, so none is replaced."""
    if output is None:
        return
    if output.suffix.lower() != ".json":
        raise OutputError(f"{output}: the record is a .json file; choose such a name")
    check_folders(Jobs((Job(None, output),), several=False), str(output))


def _embedded(
    tokenizer: "AnyTokenizer", train: "LabelledStrings", valid: "LabelledStrings", num_tokens: int, pool: "Pooling"
) -> dict[str, Any]:
    own, others = (part.embeddings(tokenizer, num_tokens, pool) for part in (train, valid))
    return _probe(own, others, train, valid)


def _probe(own: "Blocks", others: "Blocks", train: "LabelledStrings", valid: "LabelledStrings") -> dict[str, Any]:
    from vtok.eval.downstream.probing import LabelledFeatures
    from vtok.eval.downstream.probing import probe as measure

    return asdict(measure(LabelledFeatures(own, train.labels), LabelledFeatures(others, valid.labels), train.num_classes))


def _chance(num_classes: int) -> dict[str, Any]:
    share = {name: min(1.0, (5 if name.endswith("5") else 1) / num_classes) for name in _FIGURES}
    return {"name": "chance"} | share


def _weights(tokenizer: "AnyTokenizer") -> dict[str, Any]:
    from vtok.codec.reconstructor import weights_digest
    from vtok.tokenizers.base import Tokenizer

    codes = {"code_digest": tokenizer.code_digest} if isinstance(tokenizer, Tokenizer) else {}
    return {"family": tokenizer.family, "weights_sha256": weights_digest(tokenizer)} | codes


def _settings() -> dict[str, Any]:
    from vtok.eval.downstream.probing import settings

    return settings()


def _facts(strings: "LabelledStrings") -> dict[str, Any]:
    return {"name": Path(strings.name).name, "pictures": len(strings.labels), "failed": len(strings.failures)}


def _table(record: Mapping[str, Any]) -> list[str]:
    """A line for each length and each baseline, then what they were measured on."""
    head = f"{'tokens':>10}" + "".join(f"{label:>14}" for label in _FIGURES.values())
    named = [(str(row["tokens"]), row) for row in record["rows"]] + [(row["name"], row) for row in record["baselines"]]
    lines = [f"{name:>10}" + "".join(f"{row[key]:>14.2%}" for key in _FIGURES) for name, row in named]
    train, valid = record["train"], record["valid"]
    return [
        head,
        *lines,
        f"Measured on {valid['pictures']:,} pictures of {valid['name']}, {record['classes']:,} classes;"
        f" learnt from {train['pictures']:,} of {train['name']}; positions: {record['pool']}",
    ]


def _leave_with_failures(*parts: "LabelledStrings") -> None:
    failures = [failure for part in parts for failure in part.failures]
    if failures:
        tell(f"vtok: {len(failures)} of {len(failures) + sum(len(part.labels) for part in parts)} pictures failed:")
        for reason in failures:
            tell(f"  {reason}")
        raise typer.Exit(SOME_FAILED)
