"""Features of the pictures of a data set, kept for every run that measures against them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vtok.errors import DataError
from vtok.eval.backbones.base import Backbone
from vtok.eval.distributions.feature_set import FeatureSet
from vtok.eval.protocol.presets import Preset
from vtok.eval.run.batches import as_tensor, batches, in_order, stacked
from vtok.eval.run.chunks import Chunk, ChunkStore
from vtok.eval.run.originals import as_values, originals
from vtok.eval.run.picture_set import PictureSet
from vtok.eval.run.prepared import Pictures


class PictureFeatures:
    """One backbone's outputs of all pictures of a set. A job: see `vtok.eval.run.jobs`.

    Args:
        pictures: the set.
        backbone: on the device where it computes.
        preset: whether originals are rounded.
        cache: folder of the stores.
    """

    def __init__(self, pictures: PictureSet, backbone: Backbone, preset: Preset, cache: Path, *, device: str):
        self.pictures = pictures
        self.backbone = backbone
        self._preset = preset
        self._device = device
        rounding = preset.rounding if preset.rounds_originals else None
        settings = {"features_of": pictures.describe(), "chunk": pictures.chunk, "rounding": rounding, "backbone": backbone.describe()}
        self._store = ChunkStore(cache, settings | {"device": device.partition(":")[0]})

    def missing(self, start: int) -> bool:
        """Whether a chunk is still to be done."""
        return not self._store.has(start)

    def work(self, pictures: Pictures) -> None:
        """Take the features of a chunk and keep them."""
        indices: list[int] = []
        parts: list[Mapping[str, Tensor]] = []
        for batch in batches(pictures):
            images = originals(as_tensor(stacked(batch)), self._preset)
            indices += [picture.index for picture in batch]
            parts.append(features_of(self.backbone, images.to(self._device)))
        tensors = {name: in_order(indices, [part[name] for part in parts]) for name in self.backbone.dims} if parts else {}
        self._store.write(pictures.start, Chunk(tensors | {"index": torch.tensor(sorted(indices))}, facts_of(pictures)))

    def rows(self, output: str) -> FeatureSet:
        """One output of all pictures.

        Raises:
            DataError: a chunk is missing or damaged.
        """
        found = FeatureSet()
        for start in self.pictures.starts:
            if self._store.info(start)["keys"]:
                chunk = self._store.read(start, ("index", output))
                found.update(chunk.tensors["index"], chunk.tensors[output])
        return found

    def infos(self) -> list[Mapping[str, Any]]:
        """The facts of each chunk."""
        return [self._store.info(start) for start in self.pictures.starts]


@torch.no_grad()
def features_of(backbone: Backbone, images: Tensor) -> dict[str, Tensor]:
    """All outputs (B, d) float32 on the CPU, of pictures (B, 3, H, W) uint8 or float32 from 0 to 255.

    Raises:
        DataError: some are no numbers.
    """
    found = {name: output.float().cpu() for name, output in backbone(as_values(images)).items() if name in backbone.dims}
    for name, output in found.items():
        if not bool(output.isfinite().all()):
            raise DataError(f"{backbone.name}: its {name} of some pictures are no numbers; its weights, or the pictures, are damaged")
    return found


def facts_of(pictures: Pictures) -> dict[str, Any]:
    """What a chunk's pictures are: keys, sizes and digests of those that could be read, key and reason of the others."""
    return {
        "keys": [picture.key for picture in pictures.readable],
        "sizes": [list(picture.pixels.shape[:2]) for picture in pictures.readable],
        "sha256": [picture.sha256.hex() for picture in pictures.readable],
        "failures": [list(failure) for failure in pictures.failures],
    }


def check_equal_sizes(infos: list[Mapping[str, Any]], name: str) -> tuple[int, int]:
    """The one size (height, width) of all pictures.

    Raises:
        DataError: they have several, so that one size for a network's input would change the shapes of some.
    """
    first: tuple[str, list[int]] | None = None
    for info in infos:
        for key, size in zip(info["keys"], info["sizes"], strict=True):
            first = first or (key, size)
            if size != first[1]:
                one, other = (f"{height_width[1]} x {height_width[0]}" for height_width in (first[1], size))
                raise DataError(
                    f"{name}: pictures of several sizes ({first[0]} has {one} pixels, {key} {other}); sets of pictures are measured at one "
                    "size, give it with --size"
                )
    if first is None:
        raise DataError(f"{name}: no picture could be read")
    return first[1][0], first[1][1]
