"""`vtok generate`: new pictures from a generator, or what it makes of the first tokens of a photograph."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtok.cli.options import Device, DeviceOption, JsonOption, QuietOption
from vtok.cli.pipes import say, tell
from vtok.cli.report import json_line
from vtok.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from vtok.generate.base import Generator


def generate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A generator: a folder, a name, a hub id or a published file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for grid.png and a .png and .vtok file of each picture.")],
    num: Annotated[int, typer.Option("--num", "-n", min=1, max=100_000, help="Pictures.")] = 16,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NUMBER|NAME", help="Class; several are taken in turn. Default: drawn by the seed."),
    ] = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", metavar="N|N,N,...", help="Of each string; several make a column each. Default: all.")
    ] = None,
    guidance: Annotated[float | None, typer.Option(min=0, show_default=False, help="Scale of classifier-free guidance; 1 is none.")] = None,
    schedule: Annotated[
        str | None, typer.Option(metavar="NAME", help="How guidance goes: constant, linear, cosine; of maskgit power-cosine.")
    ] = None,
    power: Annotated[float | None, typer.Option(min=0, show_default=False, help="Of the cosine.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, show_default=False, help="Of the draws; 0 takes the likeliest token.")] = None,
    top_k: Annotated[
        int | None, typer.Option(min=0, show_default=False, help="Draw among so many of the likeliest tokens; 0: all.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0, max=1, show_default=False, help="Draw among the likeliest tokens of this probability; 1: all.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, show_default=False, help="In which maskgit draws a string.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first picture; picture i has seed + i.")] = 0,
    complete: Annotated[Path | None, typer.Option(metavar="PHOTO", help="Begin each string with the first tokens of a photograph.")] = None,
    keep: Annotated[str, typer.Option(metavar="N|N,N,...", help="How many of those, for --complete.")] = "8",
    rest: Annotated[
        Path | None, typer.Option(metavar="PHOTO", help="With --complete: take the rest from this photograph in place of drawing it.")
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(metavar="NAME|PATH", help="What decodes; default: what the generator names.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Strings drawn at once.")] = 16,
    device: DeviceOption = Device.auto,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make new pictures, and their token strings as .vtok files.

    What is not said of guidance and draws is as published, for generators of `vtok models`, and the family's own otherwise.

    Example: vtok generate my-generator -o samples --num 16 --class 7 --guidance 2
    """
    if rest is not None and complete is None:
        raise typer.BadParameter("--rest goes with --complete")
    from vtok.cli.generated import Drawing, write_pictures
    from vtok.cli.loading import torch_device
    from vtok.generate.load import load_generator
    from vtok.generate.published import PUBLISHED
    from vtok.weights.load import load_tokenizer

    where = torch_device(device)
    generator = load_generator(model, device=where)
    decoder = generator.decoder() if tokenizer is None else load_tokenizer(tokenizer)
    generator.check_tokenizer(decoder, tokenizer or generator.config.tokenizer)
    decoder = decoder.to(where)
    start = time.monotonic()
    told = {
        "guidance": guidance,
        "schedule": schedule,
        "power": power,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "steps": steps,
    }
    changes = {name: value for name, value in told.items() if value is not None}
    drawing = Drawing(generator, decoder, generator.changed(PUBLISHED.get(model, generator.Options()), changes), seed, batch_size)
    chosen = _classes(generator, classes or [], num, seed)
    if complete is None:
        lengths = _numbers(tokens, "--tokens") if tokens else [generator.spec.max_tokens]
        columns = drawing.prefixes(num, chosen, lengths)
    elif rest is None:
        columns = drawing.completions(num, chosen, complete, _numbers(keep, "--keep"), _numbers(tokens, "--tokens")[-1] if tokens else None)
    else:
        columns = drawing.mixtures(complete, rest, _numbers(keep, "--keep"))
    seconds = time.monotonic() - start
    files = write_pictures(output, columns, decoder)
    num_strings = sum(len(column.tokens) for column in columns)
    if json_:
        for record in files:
            say(json_line(record))
    else:
        say(str(output))
    if not quiet:
        tell(f"{num_strings} strings in {seconds:.1f} s; {output / 'grid.png'} shows them")


def _classes(generator: "Generator[Any]", asked: list[str], num: int, seed: int) -> "Tensor | None":
    """(num,) class ids, or None where the generator knows none."""
    import torch

    known = generator.example_classes(1)
    if known is None:
        if asked:
            raise ConfigError("this generator knows no classes; leave --class out")
        return None
    names = list(generator.config.class_names or ())
    if not asked:
        last = int(generator.example_classes(2)[1])  # type: ignore[index]
        return torch.randint(0, last + 1, (num,), generator=torch.Generator().manual_seed(seed))
    ids = [int(text) if text.isdecimal() else _by_name(text, names) for text in asked]
    return torch.tensor([ids[i % len(ids)] for i in range(num)])


def _by_name(text: str, names: list[str]) -> int:
    if text not in names:
        import difflib

        near = difflib.get_close_matches(text, names, n=1)
        raise ConfigError(f"--class: no class {text!r}" + (f"; did you mean {near[0]}?" if near else "; give its number"))
    return names.index(text)


def _numbers(text: str, option: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"{option} takes whole numbers with commas such as 1,4,16, got {text!r}")
    return [int(part) for part in parts]
