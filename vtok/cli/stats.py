"""`vtok stats`: statistics of a data set that generators are measured against."""

from pathlib import Path
from typing import Annotated

import typer

from vtok.cli.cache_latents import Kind, Split
from vtok.cli.eval_options import BatchOption, CacheOption, CountOption, PresetOption, cache_folder, parse_size
from vtok.cli.measuring import Measuring, check_readable, leave_with_failures
from vtok.cli.options import Device, DeviceOption, JsonOption, QuietOption
from vtok.cli.pipes import say
from vtok.cli.report import json_line
from vtok.errors import OutputError


def stats(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A folder, tars, parquet tables or .npz of pictures.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="REF.npz", help="The file to write.")],
    preset: PresetOption = "vtok",
    size: Annotated[str, typer.Option(metavar="PIXELS|native", help="Side of the crops.")] = "256",
    backbone: Annotated[
        str, typer.Option(metavar="NAME", help="Network: inception, alex, efflite0, dinov2 or a model of timm.")
    ] = "inception",
    rows: Annotated[bool, typer.Option("--rows", help="Keep each picture's features too, which KID, precision and recall need.")] = False,
    count: CountOption = None,
    batch: BatchOption = None,
    kind: Annotated[Kind, typer.Option(help="What DATA is; auto looks.")] = Kind.auto,
    split: Annotated[Split, typer.Option(help="All pictures, or the part to train on or to hold out.")] = Split.all,
    cache: CacheOption = None,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write mean and covariance of a data set's features, which `vtok eval --reference` takes.

    Example: vtok stats Pictures -o ref.npz --preset adm --size 256
    """
    from vtok.eval.protocol.presets import preset as find_preset
    from vtok.eval.run.features import check_equal_sizes
    from vtok.eval.run.record import numerics, set_facts
    from vtok.eval.run.references import write_reference

    if output.suffix.lower() != ".npz":
        raise OutputError(f"{output}: statistics are an .npz file; choose such a name")
    if not output.resolve().parent.is_dir():
        raise OutputError(f"{output}: the folder {output.parent} does not exist; create it first")
    measuring = Measuring(find_preset(preset), count, batch, kind, split, cache_folder(cache), device, quiet, as_json)
    pictures = measuring.pictures(data, parse_size(size))
    features = measuring.features(pictures, {backbone: measuring.backbone(backbone)})[backbone]
    measuring.do([features], pictures)
    if not measuring.processes.first:
        return
    infos = features.infos()
    check_readable(infos, pictures.name)
    check_equal_sizes(infos, pictures.name)
    facts = {"vtok_stats": 1, "data": pictures.name, "crop": pictures.crop, "size": pictures.size} | set_facts(infos)
    facts |= {"backbone": features.backbone.describe(), "preset": measuring.preset.to_json()} | numerics(measuring.torch_device)
    write_reference(output, features, facts, rows=rows)
    say(json_line(facts | {"output": str(output)}) if as_json else f"{output}: {facts['pictures']:,} pictures of {pictures.name}")
    leave_with_failures(facts)
