"""`vtok cache-latents`: a frozen autoencoder's latents of a data set, kept for training."""

import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtok.cli.options import Device, DeviceOption, QuietOption
from vtok.cli.pipes import say, tell
from vtok.cli.report import SOME_FAILED

if TYPE_CHECKING:
    from vtok.data.sources import Source
    from vtok.train.samples.latent_cache import LatentCache, Progress


class Kind(StrEnum):
    """What a data set is."""

    auto = "auto"
    folder = "folder"
    tar = "tar"
    parquet = "parquet"


class Split(StrEnum):
    """Which pictures of a data set."""

    all = "all"
    train = "train"
    held_out = "held_out"


def cache_latents(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A folder, tars or parquet tables of pictures.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; one of a stopped command goes on.")],
    autoencoder: Annotated[str, typer.Option(metavar="taef2|FOLDER", help="taef2, or a folder of diffusers or of a vae model.")] = "taef2",
    weights: Annotated[str, typer.Option(metavar="FILE", help="A .safetensors file for taef2; default: those in the package.")] = "",
    scales: Annotated[str, typer.Option(help="Scales of each picture to keep, by commas.")] = "1",
    mirror: Annotated[bool, typer.Option("--mirror", help="Keep a mirrored copy of each too.")] = False,
    max_side: Annotated[int, typer.Option(min=0, help="Scale pictures with a longer short side down to it; 0: never.")] = 512,
    kind: Annotated[Kind, typer.Option(help="What DATA is; auto looks.")] = Kind.auto,
    split: Annotated[Split, typer.Option(help="All pictures, or the part to train on or to hold out.")] = Split.all,
    threads: Annotated[int, typer.Option(min=0, max=1024, help="Processor threads; 0 leaves the choice to PyTorch.")] = 0,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
) -> None:
    """Keep a frozen autoencoder's latents of whole pictures, with the pixels, for training: --set data.path=FOLDER.

    Example: vtok cache-latents Pictures -o latents --scales 1,0.5
    """
    kept = _scales(scales)
    from vtok.cli.loading import torch_device
    from vtok.data.sources import open_source
    from vtok.train.samples.latent_cache import LatentCache, cache_settings, named_autoencoder, variants

    if threads:
        import torch

        torch.set_num_threads(threads)
    device_name = torch_device(device)
    config, encoder = named_autoencoder(autoencoder, weights)
    source = open_source(data, kind=kind.value, split=split.value)
    settings = cache_settings(source, config, encoder, kept=variants(kept, mirror=mirror), max_side=max_side)
    cache = LatentCache(output, settings)
    if not cache.is_complete:
        _say_progress(cache.write(source, encoder, device=device_name), quiet=quiet)
    elif not quiet:
        tell(f"{output} is complete, nothing was left to do")
    _finish(cache, source)


def _scales(text: str) -> Sequence[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--scales takes numbers such as 1,0.5, got {text!r}") from None


def _say_progress(shards: "Iterator[Progress]", *, quiet: bool) -> None:
    start, num_before = time.monotonic(), 0
    for shard in shards:
        if not shard.is_new:
            num_before, start = shard.num_done, time.monotonic()
        rate = (shard.num_done - num_before) / max(time.monotonic() - start, 1e-3)
        left = f", {rate:.1f} pictures/s, {(shard.num_pictures - shard.num_done) / rate / 60:.0f} min left" if rate else ", was there"
        if not quiet:
            tell(f"{shard.file.name}: {shard.num_done:,} of {shard.num_pictures:,} pictures{left}")


def _finish(cache: "LatentCache", source: "Source") -> None:
    say(str(cache.folder))
    if skipped := cache.manifest.skipped:
        tell(f"vtok: {len(skipped)} of {len(source)} pictures failed:")
        for _, reason in skipped:
            tell(f"  {reason}")
        raise typer.Exit(SOME_FAILED)
