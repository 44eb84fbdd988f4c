"""What a model makes of pictures at every length, measured and kept chunk by chunk."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from vtok.eval.backbones.base import Backbone
from vtok.eval.distributions.feature_set import FeatureSet
from vtok.eval.downstream.classification import Recognition, RecognizedOriginals
from vtok.eval.pairs.measures import Measures
from vtok.eval.protocol.presets import Preset
from vtok.eval.run.batches import as_tensor, batches, in_order, stacked
from vtok.eval.run.chunks import Chunk, ChunkStore
from vtok.eval.run.coder import Coder
from vtok.eval.run.features import facts_of, features_of
from vtok.eval.run.metric_names import MetricPlan
from vtok.eval.run.originals import originals, rounded
from vtok.eval.run.picture_set import PictureSet
from vtok.eval.run.picture_values import PictureValues
from vtok.eval.run.prepared import Picture, Pictures

ORIGINALS = 0  # in the place of a length: a figure of the originals themselves


@dataclass(frozen=True, eq=False)
class Instruments:
    """What measures, ready on its device.

    Args:
        plan: the figures that are wanted.
        measures: of pairs; None where no such figure is wanted.
        backbones: of the statistics, by name.
        recognition: of classifiers, by the name of their backbone.
        device: as torch names it.
    """

    plan: MetricPlan
    measures: Measures | None
    backbones: Mapping[str, Backbone]
    recognition: Mapping[str, Recognition]
    device: str

    def describe(self) -> dict[str, Any]:
        """Networks, digests and rules, JSON-able."""
        return {
            "metrics": list(self.plan.names),
            "measures": {} if self.measures is None else self.measures.describe(),
            "backbones": {name: backbone.describe() for name, backbone in self.backbones.items()},
            "classifiers": {name: recognition.backbone.describe() for name, recognition in self.recognition.items()},
        }


class Reconstructions:
    """Figures, sizes and features of what a coder makes of the pictures of a set. A job: see `vtok.eval.run.jobs`.

    Args:
        pictures: the set.
        coder: codes and decodes.
        lengths: tokens a string, rising.
        preset: how decoded pictures are rounded.
        instruments: what measures them.
        cache: folder of the stores.
    """

    def __init__(self, pictures: PictureSet, coder: Coder, lengths: Sequence[int], preset: Preset, instruments: Instruments, cache: Path):
        self.pictures = pictures
        self.coder = coder
        self.lengths = tuple(lengths)
        self.preset = preset
        self.instruments = instruments
        self._outputs = sorted({(statistic.backbone, statistic.output) for statistic in instruments.plan.statistics})
        settings = {"of": pictures.describe(), "chunk": pictures.chunk, "by": dict(coder.describe()), "lengths": list(lengths)}
        device = instruments.device.partition(":")[0]
        self._store = ChunkStore(cache, settings | {"preset": preset.to_json(), "device": device} | instruments.describe())

    @property
    def digest(self) -> str:
        """SHA-256 in hex of all that the figures depend on, but the state of the files."""
        return self._store.digest

    def missing(self, start: int) -> bool:
        """Whether a chunk is still to be done."""
        return not self._store.has(start)

    @torch.no_grad()
    def work(self, pictures: Pictures) -> None:
        """Code a chunk, decode it at each length, measure, and keep what came out."""
        begun, clock = perf_counter(), _Clock(self.instruments.device)
        parts: dict[str, list[Tensor]] = defaultdict(list)
        indices: list[int] = []
        ids = []
        for batch in batches(pictures):
            indices += [picture.index for picture in batch]
            found, strings = self._measure(batch, clock)
            for name, tensor in found.items():
                parts[name].append(tensor)
            ids += [] if strings is None else [strings]
        tensors = {name: in_order(indices, tensors) for name, tensors in parts.items()}
        tensors["index"] = torch.tensor(sorted(indices))
        if ids:
            tensors["ids"] = torch.cat(ids).cpu()  # counted, so their order says nothing
        seconds = clock.seconds | {"chunk": perf_counter() - begun}
        self._store.write(pictures.start, Chunk(tensors, facts_of(pictures) | {"seconds": seconds}))

    def values(self, name: str, num_tokens: int) -> PictureValues:
        """A figure of each picture; at `ORIGINALS` a classifier's "top1" of those themselves."""
        found = PictureValues()
        for chunk in self._read(_value(name, num_tokens)):
            found.update(*chunk)
        return found

    def num_bytes(self, num_tokens: int) -> PictureValues | None:
        """Bytes of each picture's file; None for a continuous model."""
        if not hasattr(self.coder.spec, "codebook_sizes"):
            return None
        found = PictureValues()
        for indices, sizes in self._read(_size(num_tokens)):
            found.update(indices, sizes.double())
        return found

    def num_pixels(self) -> PictureValues:
        """Pixels of each picture."""
        found = PictureValues()
        for indices, pixels in self._read("num_pixels"):
            found.update(indices, pixels.double())
        return found

    def rows(self, backbone: str, output: str, num_tokens: int) -> FeatureSet:
        """One output of a backbone, of all decoded pictures."""
        found = FeatureSet()
        for chunk in self._read(_feature(backbone, output, num_tokens)):
            found.update(*chunk)
        return found

    def count_ids(self, count: Callable[[Tensor], Any]) -> None:
        """Give all ids, (strings, P, K) int64, to `count`, chunk by chunk."""
        for _, ids in self._read("ids"):
            count(ids.long())

    def infos(self) -> list[Mapping[str, Any]]:
        """The facts of each chunk."""
        return [self._store.info(start) for start in self.pictures.starts]

    def _read(self, name: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Numbers of pictures and one tensor, of each chunk that has pictures."""
        for start in self.pictures.starts:
            if self._store.info(start)["keys"]:
                tensors = self._store.read(start, ("index", name)).tensors
                yield tensors["index"], tensors[name]

    def _measure(self, batch: Sequence[Picture], clock: "_Clock") -> tuple[dict[str, Tensor], Tensor | None]:
        pixels, device = stacked(batch), self.instruments.device
        references = originals(as_tensor(pixels).to(device), self.preset)
        with clock.of("model"):
            coded = self.coder.encode(pixels, [picture.index for picture in batch], [picture.caption for picture in batch])
        with clock.of("measures"):
            against, found = self._against(references, batch)
        found["num_pixels"] = torch.full((len(batch),), pixels.shape[1] * pixels.shape[2])
        for n in self.lengths:
            with clock.of("model"):
                decoded = coded.decode(n)
            pictures = rounded(decoded, self.preset)
            size = coded.num_bytes(n)
            if size is not None:
                found[_size(n)] = torch.full((len(batch),), size)
            with clock.of("measures"):
                for measured in against:
                    found |= {_value(name, n): values for name, values in measured(pictures).items()}
            with clock.of("backbones"):
                found |= self._features(pictures, n)
        ids = coded.ids
        return found, None if ids is None else ids.to(torch.int32 if int(ids.max()) < 2**31 else torch.int64)

    def _against(
        self, references: Tensor, batch: Sequence[Picture]
    ) -> tuple[list[Callable[[Tensor], Mapping[str, Tensor]]], dict[str, Tensor]]:
        """What compares decoded pictures with these originals, and what is known of the originals themselves."""
        known_of: dict[str, Tensor] = {}
        found: list[Callable[[Tensor], Mapping[str, Tensor]]] = []
        if self.instruments.measures is not None:
            found.append(self.instruments.measures.of(references).compare)
        labels = [picture.label for picture in batch]
        known = None if None in labels else torch.tensor(labels, device=references.device)
        for name, recognition in self.instruments.recognition.items():
            recognized = recognition.of(references, known)
            found.append(_named(name, recognized))
            if recognized.top1 is not None:
                known_of[_value(f"top1_{name}", ORIGINALS)] = recognized.top1
        return found, known_of

    def _features(self, pictures: Tensor, num_tokens: int) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, backbone in self.instruments.backbones.items():
            outputs = features_of(backbone, pictures)
            found |= {_feature(name, output, num_tokens): outputs[output] for own, output in self._outputs if own == name}
        return found


class _Clock:
    """Seconds by what they were spent on; a GPU's work is waited for."""

    def __init__(self, device: str):
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        begun = self._now()
        yield
        self.seconds[name] += self._now() - begun

    def _now(self) -> float:
        if self._device.startswith("cuda"):
            torch.cuda.synchronize()
        return perf_counter()


def _named(name: str, recognized: RecognizedOriginals) -> Callable[[Tensor], Mapping[str, Tensor]]:
    """What a classifier recognises, with its name behind that of each figure."""
    return lambda pictures: {f"{kind}_{name}": values for kind, values in recognized.compare(pictures).items()}


def _value(name: str, num_tokens: int) -> str:
    return f"value/{name}/{num_tokens}"


def _size(num_tokens: int) -> str:
    return f"bytes/{num_tokens}"


def _feature(backbone: str, output: str, num_tokens: int) -> str:
    return f"feature/{backbone}/{output}/{num_tokens}"
