"""`vtok tokenize`: a data set of pictures to shards of token strings."""

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtok.cli.cache_latents import Kind, Split
from vtok.cli.options import Device, DeviceOption, JsonOption, ModelOption, QuietOption
from vtok.cli.pipes import say, tell
from vtok.cli.ranks import rank_and_size
from vtok.cli.report import SOME_FAILED

if TYPE_CHECKING:
    from vtok.generate.tokenize.shard import Rates
    from vtok.generate.tokenize.work import TokenizeJob


class Engine(StrEnum):
    """What the shards are given out by."""

    local = "local"
    ray = "ray"


class Classes(StrEnum):
    """Where the class of a picture stands."""

    stored = "stored"
    folder = "folder"


def tokenize(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A folder, tars or parquet tables of pictures.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the shards; one of a stopped command goes on.")],
    model: ModelOption = None,
    tokens: Annotated[int | None, typer.Option("--tokens", min=1, show_default=False, help="Of each string; default: all.")] = None,
    kind: Annotated[Kind, typer.Option(help="What DATA is; auto looks.")] = Kind.auto,
    split: Annotated[Split, typer.Option(help="All pictures, or the part to train on or to hold out.")] = Split.all,
    classes: Annotated[Classes, typer.Option(help="Class ids: stored in tars and tables, or the folders of pictures.")] = Classes.stored,
    views: Annotated[int, typer.Option(min=1, max=1000, help="Strings of each picture: the middle, then random parts.")] = 1,
    least_scale: Annotated[float, typer.Option(min=0.01, max=1, help="Smallest side of a random part, in parts of the middle's.")] = 0.8,
    mirror: Annotated[bool, typer.Option(help="Mirror half of the random parts.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the random parts.")] = 0,
    shard_size: Annotated[int, typer.Option(min=1, help="Picture files of a shard; tars and tables are a shard each.")] = 1000,
    rank: Annotated[int | None, typer.Option(min=0, show_default=False, help="Of this process, from 0; default: the launcher's.")] = None,
    world_size: Annotated[int | None, typer.Option(min=1, show_default=False, help="Number of processes that share the work.")] = None,
    engine: Annotated[Engine, typer.Option(help="local works here; ray gives the shards to a Ray cluster.")] = Engine.local,
    batch_size: Annotated[int, typer.Option(min=1, max=65536, help="Pictures encoded at once.")] = 64,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Threads that read pictures.")] = 2,
    device: DeviceOption = Device.auto,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Turn a data set of pictures into token strings for a generator: --set data.path=OUTPUT.

    Each shard of DATA becomes one parquet file. The same command goes on where it was stopped, and makes a shard that is damaged anew.
    Several processes share the work by --rank and --world-size, or by what torchrun, Slurm or Kubernetes tell them.

    Example: vtok tokenize Pictures -o shards --views 4
    """
    rank, world_size = rank_and_size(rank, world_size)
    if engine is Engine.ray and world_size > 1:
        raise typer.BadParameter("--engine ray shares the work by itself; leave --rank and --world-size out")
    from vtok.cli.loading import torch_device
    from vtok.data.sources.open import open_parts
    from vtok.generate.tokenize.shard import Speed
    from vtok.generate.tokenize.work import TokenizeJob, settings_of
    from vtok.weights.load import DEFAULT, load_tokenizer

    name = model or DEFAULT
    parts = open_parts(data, kind=kind.value, split=split.value, part_size=shard_size)
    tokenizer = load_tokenizer(model, device=torch_device(device))
    cut = {"views": views, "least_scale": least_scale, "mirror": mirror, "seed": seed}
    settings = settings_of(tokenizer, parts, source=data, model=name, num_tokens=tokens, classes=classes.value, views=cut)
    job = TokenizeJob(parts, settings, output, Speed(batch_size, workers))
    job.check_folder()
    own = range(rank, len(parts), world_size)
    if engine is Engine.ray:
        from vtok.generate.tokenize.ray_tasks import run_on_ray

        shards = run_on_ray(job, own, torch_device(device))
    else:
        shards = job.run(own, tokenizer)
    rates = _progress(shards, len(own), quiet=quiet)
    _finish(job, rates, as_json=json_, quiet=quiet)


def _progress(shards: Any, num_shards: int, *, quiet: bool) -> "Rates | None":
    """Tell of each shard; returns the rates of those that were made."""
    rates: Rates | None = None
    start = time.monotonic()
    num_found = 0
    for number, done in enumerate(shards, 1):
        num_found += done.rates is None
        if done.rates is not None:
            rates = done.rates if rates is None else rates
            if rates is not done.rates:
                rates.add(done.rates)
        if not quiet:
            made = number - num_found
            left = (num_shards - number) * (time.monotonic() - start) / max(made, 1) / 60
            news = "was there" if done.rates is None else f"{done.rates.both:.1f} strings/s, {left:.0f} min left"
            tell(f"{done.file.name}: {number} of {num_shards} shards, {done.num_strings:,} strings, {news}")
    return rates


def _finish(job: "TokenizeJob", rates: "Rates | None", *, as_json: bool, quiet: bool) -> None:
    manifest = job.finish()
    if rates is not None and not quiet:
        tell(f"strings/s: loader alone {rates.loader:.1f}, model alone {rates.model:.1f}, both together {rates.both:.1f}")
    if manifest is None and not quiet:
        tell(f"{job.folder}: other processes still work on some shards; the last one writes the manifest")
    if as_json:
        strings = None if manifest is None else manifest.num_strings
        told: dict[str, Any] = {"folder": str(job.folder), "finished": manifest is not None, "strings": strings}
        if rates is not None:
            told["strings_per_s"] = {"loader": rates.loader, "model": rates.model, "both": rates.both}
        say(json.dumps(told))
    else:
        say(str(job.folder))
    failed = () if manifest is None else manifest.failed
    if failed:
        tell(f"vtok: {len(failed)} pictures failed:")
        for _, reason in failed:
            tell(f"  {reason}")
        raise typer.Exit(SOME_FAILED)
