"""What `vtok eval` and `vtok stats` are both told, and how they go through pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vtok.cli.cache_latents import Kind, Split
from vtok.cli.loading import torch_device
from vtok.cli.options import Device
from vtok.cli.pipes import tell
from vtok.cli.processes import Processes, open_processes
from vtok.cli.report import SOME_FAILED, Report
from vtok.errors import DataError

if TYPE_CHECKING:
    from vtok.eval.backbones.base import Backbone
    from vtok.eval.protocol.presets import Preset
    from vtok.eval.run.features import PictureFeatures
    from vtok.eval.run.jobs import Job
    from vtok.eval.run.picture_set import PictureSet

_CROPS, _PHOTOGRAPHS = 32, 4  # that are worked on together


@dataclass(frozen=True)
class Measuring:
    """How pictures are measured.

    Args:
        preset: by which rules.
        count: of pictures, None for all.
        batch: that are worked on, and kept, together; None for 32, or 4 that stay as they are.
        kind: what the data set is.
        split: which part of it.
        cache: where work is kept.
        device: where networks compute.
        silent: neither bar nor lines.
        as_json: no bar.
    """

    preset: "Preset"
    count: int | None
    batch: int | None
    kind: Kind
    split: Split
    cache: Path
    device: Device
    silent: bool
    as_json: bool

    @cached_property
    def torch_device(self) -> str:
        """The device as torch names it."""
        return torch_device(self.device)

    @cached_property
    def processes(self) -> Processes:
        """Those that share the work."""
        return open_processes(on_cpu=self.torch_device == "cpu")

    def pictures(self, data: str, size: int | None) -> "PictureSet":
        """A data set as it is measured.

        Args:
            size: side of the crops; None leaves pictures as they are.
        """
        from vtok.data.sources import open_source
        from vtok.data.sources.fingerprint import fingerprint
        from vtok.eval.run.picture_set import PictureSet

        source = open_source(data, kind=self.kind.value, split=self.split.value)
        files = f"{fingerprint(data)} {self.split.value}"
        chunk = self.batch or (_PHOTOGRAPHS if size is None else _CROPS)
        return PictureSet(source, Path(data).name, files, self.count, self.preset.crop, size, chunk)

    def backbone(self, name: str) -> "Backbone":
        """A network on its device, its input as the preset has it."""
        from vtok.eval.backbones.registry import open_backbone

        resize = self.preset.inception_resize if name == "inception" else None
        return open_backbone(name, resize=resize, device=self.torch_device)

    def features(self, pictures: "PictureSet", backbones: Mapping[str, "Backbone"]) -> "dict[str, PictureFeatures]":
        """The features of pictures, by backbone, still to be taken."""
        from vtok.eval.run.features import PictureFeatures

        return {
            name: PictureFeatures(pictures, backbone, self.preset, self.cache, device=self.torch_device)
            for name, backbone in backbones.items()
        }

    def do(self, jobs: "Iterable[Job]", pictures: "PictureSet") -> None:
        """Do all chunks, in as many processes as there are, and wait for them."""
        from vtok.eval.run.jobs import do

        processes = self.processes
        with Report(1, several=False, as_json=self.as_json, quiet=self.silent or not processes.first) as report:
            tell_share, own = report.watch(), len(pictures) / processes.size

            def advance(done: int) -> None:
                tell_share(min(1.0, done / own))

            do(list(jobs), pictures, advance, rank=processes.rank, world_size=processes.size)
        processes.wait()


def check_readable(infos: Sequence[Mapping[str, Any]], name: str) -> None:
    """Raise `DataError` where no picture could be read."""
    if not any(info["keys"] for info in infos):
        reason = next((failure[1] for info in infos for failure in info["failures"]), "it is empty")
        raise DataError(f"{name}: no picture could be read; {reason}")


def leave_with_failures(facts: Mapping[str, Any]) -> None:
    """List the pictures that could not be read and leave with exit code 3, if there are any.

    Args:
        facts: of `vtok.eval.run.record.set_facts`.
    """
    failed = facts["failed"]
    if not failed:
        return
    tell(f"vtok: {len(failed)} of {facts['pictures'] + len(failed)} pictures failed:")
    for key, reason in failed:
        tell(f"  {reason if key in reason else f'{key}: {reason}'}")
    raise typer.Exit(SOME_FAILED)
