"""`vtok compare`: a photograph beside its own prefixes."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtok.cli.decode_options import decode_options, option_facts
from vtok.cli.jobs import Job, Jobs, check_distinct, check_folders
from vtok.cli.loading import Loader, torch_device
from vtok.cli.options import (
    Device,
    DeviceOption,
    GuidanceOption,
    GuidanceRuleOption,
    JsonOption,
    ModelOption,
    OverlapOption,
    SeedOption,
    SolverOption,
    StepsOption,
)
from vtok.cli.pipes import PIPE, read_stdin, say, tell
from vtok.cli.report import Report, json_line
from vtok.errors import MissingExtraError, WeightsError

if TYPE_CHECKING:
    from vtok.codec.compare import Comparison
    from vtok.eval.pairs.lpips import Lpips

_FIGURES = (("bytes", 12, ","), ("bpp", 10, ".4f"), ("psnr", 10, ".2f"), ("lpips", 8, ".3f"))  # width and form of each column


def compare(
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="A picture, or - for standard input.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .png, .jpg or .webp file to write.")],
    lengths: Annotated[str | None, typer.Option(metavar="1,4,16", help="Tokens of each tile; default: 1, 2, 4, ... and all.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="One string for the whole picture, resized, in place of tiles.")] = False,
    overlap: OverlapOption = None,
    lpips_weights: Annotated[
        Path | None, typer.Option("--lpips-weights", metavar="FILE", help="AlexNet's weights for LPIPS, .safetensors or .pth.")
    ] = None,
    steps: StepsOption = None,
    solver: SolverOption = None,
    guidance: GuidanceOption = None,
    guidance_rule: GuidanceRuleOption = None,
    seed: SeedOption = None,
    model: ModelOption = None,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
) -> None:
    """Show a photograph beside its own prefixes: 1, 2, 4 tokens and so on, with bytes, bpp, PSNR and LPIPS.

    Example: vtok compare photo.jpg -o compare.png
    """
    from vtok.codec.compare import compare as measure
    from vtok.codec.sheet import draw
    from vtok.data.pictures import check_writable, read_picture, write_picture

    wanted = _numbers(lengths)
    options = decode_options(steps=steps, solver=solver, guidance=guidance, guidance_rule=guidance_rule, seed=seed)
    if photo != PIPE:
        check_distinct(Path(photo), output)
    check_writable(output)
    check_folders(Jobs((Job(Path(photo), output),), several=False), str(output))
    picture = read_picture(read_stdin() if photo == PIPE else photo, name="standard input" if photo == PIPE else photo)
    loader = Loader(model, device)
    metric, why_not = _lpips(lpips_weights, device, min(picture.shape[:2]))
    tokenizer = loader.model
    with Report(1, several=False, as_json=as_json, quiet=False) as report:
        shown = replace(options, progress=report.watch())
        comparison = measure(picture, tokenizer, lengths=wanted, whole=whole, overlap=overlap, options=shown, lpips=metric)
    write_picture(output, draw(comparison))
    record = {"file": photo, "output": str(output)} | option_facts(options) | _record(comparison)
    say(json_line(record) if as_json else "\n".join(_table(record)))
    if why_not is not None:
        tell(f"vtok: no LPIPS: {why_not}")


def _numbers(lengths: str | None) -> list[int] | None:
    if lengths is None:
        return None
    try:
        return [int(part) for part in lengths.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--lengths takes numbers with commas such as 1,4,16, got {lengths!r}") from None


def _lpips(weights_file: Path | None, device: Device, side: int) -> "tuple[Lpips | None, str | None]":
    """The metric, or why there is none; a file that was asked for must serve."""
    from vtok.eval.pairs.lpips import MIN_SIDE, Lpips

    if side < MIN_SIDE:
        return None, f"it takes pictures of at least {MIN_SIDE} x {MIN_SIDE} pixels"
    try:
        return Lpips(weights_file).to(torch_device(device)), None
    except (MissingExtraError, WeightsError) as error:
        if weights_file is not None:
            raise
        return None, str(error)


def _record(comparison: "Comparison") -> dict[str, Any]:
    rows = [{"tokens": row.tokens, "bytes": row.num_bytes, "bpp": row.bpp, "psnr": row.psnr, "lpips": row.lpips} for row in comparison.rows]
    return {"width": comparison.size[1], "height": comparison.size[0], "tiles": comparison.tiles, "rows": rows}


def _table(record: dict[str, Any]) -> list[str]:
    size = f"{record['width']} x {record['height']} pixels, {record['tiles']:,} tile{'s' * (record['tiles'] != 1)}"
    lines = [f"{record['file']}: {size}", f"{'tokens':>8}{'bytes':>12}{'bpp':>10}{'PSNR dB':>10}{'LPIPS':>8}"]
    for row in record["rows"]:
        cells = [f"{'-' if row[name] is None else format(row[name], form):>{width}}" for name, width, form in _FIGURES]
        lines.append("".join([f"{row['tokens']:>8}", *cells]))
    return [*lines, f"The original beside its prefixes: {record['output']}"]
