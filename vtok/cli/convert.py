"""`vtok convert`: upstream's weights to a model folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtok.cli.options import JsonOption, QuietOption
from vtok.cli.pipes import say, tell
from vtok.cli.report import json_line
from vtok.errors import DataError, OutputError

if TYPE_CHECKING:
    from vtok.weights.convert.files import Converted


def convert(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A .safetensors, .bin, .pt or .pth file, or a folder with one and config.json.")
    ],
    output: Annotated[str, typer.Option("-o", "--output", metavar="FOLDER", help="The model folder to write.")],
    proxy: Annotated[
        str | None,
        typer.Option("--proxy", metavar="PATH", help="The MaskGIT-VQGAN that a TiTok or One-D-Piece in its first stage goes with."),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", metavar="NAME|PATH", help="Of a generator: whose strings it makes; default: the published one's."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a model folder of weights of TiTok, One-D-Piece, TA-TiTok, MaskGIT-VQGAN, FlexTok, LlamaGen's VQ, FQGAN or TokenFlow,
    or of a generator of LlamaGen, FAR, TiTok, One-D-Piece or RAR.

    They are taken as published. No code in them is run.

    Example: vtok convert tokenizer_titok_l32.bin -o titok-l32
    """
    source, folder = _named(path), _named(output)
    beside = None if proxy is None else _named(proxy)
    _check_output(folder)
    from vtok.data.files import absolute
    from vtok.weights.convert.files import load_upstream
    from vtok.weights.convert.words import card_of, left_out_in_words, name_in_words

    converted = load_upstream(source, proxy=beside, tokenizer=tokenizer)
    converted.model.save_pretrained(folder, card=card_of(converted, absolute(folder).name))
    record = {"file": path, "output": output} | _record(converted)
    if as_json:
        say(json_line(record))
    elif not quiet:
        told = f"{name_in_words(converted.found)}; {record['sizes']}; {record['values']:,} values{left_out_in_words(converted)}"
        tell(f"{path} -> {output}: {told}")


def _named(text: str) -> Path:
    from vtok.data.files import expand_home

    if not text:
        raise DataError("an empty name was given for a file; is a variable of the shell unset?")
    return expand_home(text)


def _check_output(folder: Path) -> None:
    """Refuse before the work what cannot be written, or holds more than a model that is replaced."""
    from vtok.data.files import absolute
    from vtok.tokenizers.folder import CARD_FILE, CONFIG_FILE, TENSOR_FILE
    from vtok.weights.convert.tree import whose

    if not absolute(folder).parent.is_dir():
        raise OutputError(f"{folder}: the folder {folder.parent} does not exist; create it first")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file, expected a folder; choose another name")
    there = {file.name for file in folder.iterdir()} if folder.exists() else set()
    others = there - {CONFIG_FILE, TENSOR_FILE, CARD_FILE}
    if others or (there and whose(folder / CONFIG_FILE) != "vtok"):
        raise OutputError(f"{folder}: holds something else than a vtok model ({min(others or there)}); name a new folder")


def _record(converted: "Converted") -> dict[str, Any]:
    from vtok.weights.convert.words import sizes_in_words

    found = converted.found
    return {
        "name": found.name,
        "official": found.official,
        "family": found.family,
        "sizes": sizes_in_words(found),
        "values": sum(value.numel() for value in converted.model.state_dict().values()),
        "config": found.config.model_dump(mode="json"),
        "left_out": list(converted.extra),
    }
