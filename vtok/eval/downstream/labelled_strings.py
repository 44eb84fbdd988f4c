"""The strings of a data set's pictures beside their labels, made once and embedded at any length."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vtok.data.crops import center_tile, resize
from vtok.data.eight_bit import from_eight_bit
from vtok.data.sources import Sample, Source
from vtok.errors import DataError, PictureError
from vtok.eval.downstream.embeddings import Pooling, Strings, embed, encode, join
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.latents import AnyTokenizer

THUMBNAIL_SIDE = 8  # pixels
_BLOCK = 256  # strings that are embedded together


@dataclass(frozen=True, eq=False)
class LabelledStrings:
    """Pictures as a tokenizer took them.

    Args:
        name: of the data set.
        strings: one a picture, at full length, on the CPU.
        labels: (n,) int64.
        thumbnails: (n, 192) float32, the same pictures shrunk to 8 x 8 pixels, from -1 to 1.
        class_names: of the labels, where the data set states them.
        failures: what is wrong with the pictures that could not be read.
    """

    name: str
    strings: Strings
    labels: Tensor
    thumbnails: Tensor
    class_names: tuple[str, ...] | None
    failures: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """As many as are named, or as labels count."""
        return len(self.class_names) if self.class_names else int(self.labels.max()) + 1

    def embeddings(self, tokenizer: AnyTokenizer, num_tokens: int, pooling: Pooling) -> Callable[[Tensor], Iterator[Tensor]]:
        """What gives the embeddings (b, F) of pictures at some places (n,), block by block in their order."""

        def blocks(places: Tensor) -> Iterator[Tensor]:
            for part in places.split(_BLOCK):
                yield embed(tokenizer, _some(self.strings, part), num_tokens, pooling)

        return blocks

    def pixels(self) -> Callable[[Tensor], Iterator[Tensor]]:
        """The same of the thumbnails."""
        return lambda places: (self.thumbnails[part] for part in places.split(_BLOCK))

    def with_labels_of(self, other: "LabelledStrings") -> "LabelledStrings":
        """The same pictures with the labels that another data set gives to classes of their names.

        Raises:
            DataError: classes that the other does not have.
        """
        if self.class_names is None or other.class_names is None or self.class_names == other.class_names:
            if int(self.labels.max()) >= other.num_classes:
                raise DataError(
                    f"{self.name}: has the label {int(self.labels.max())}, {other.name} has {other.num_classes} classes, from 0"
                )
            return self
        found = {name: place for place, name in enumerate(other.class_names)}
        if missing := [name for name in self.class_names if name not in found]:
            raise DataError(f"{self.name}: {len(missing)} of its classes are not among those of {other.name}, {missing[0]!r} for one")
        places = torch.tensor([found[name] for name in self.class_names])
        return replace(self, labels=places[self.labels], class_names=other.class_names)


def check_labelled(source: Source) -> None:
    """Look at the first picture that can be read.

    Raises:
        DataError: it has no label.
    """
    for index in range(len(source)):
        try:
            _label(source, source[index])
        except PictureError:
            continue
        return


def read_strings(
    source: Source, tokenizer: AnyTokenizer, *, count: int | None, batch: int, whole: bool, advance: Callable[[], None] = lambda: None
) -> LabelledStrings:
    """Encode evenly spaced pictures of a data set, each as one string.

    Args:
        count: of pictures; None for all.
        batch: that are encoded together.
        whole: whole pictures, resized, in place of the squares in their middle.
        advance: is called after each picture.

    Raises:
        DataError: a picture without a label, or none that can be read.
    """
    total = min(count or len(source), len(source))
    parts: list[tuple[Strings, Tensor]] = []
    labels, failures, waiting = [], [], []
    for number in range(total):
        try:
            sample = source[number * len(source) // total]
            labels.append(_label(source, sample))
            waiting.append(_tile(sample.pixels, tokenizer.spec.input_size, whole=whole))
        except PictureError as error:
            failures.append(" ".join(str(error).split()))
        if len(waiting) == batch or (waiting and number == total - 1):
            parts.append(_encode(tokenizer, waiting))
            waiting = []
        advance()
    if not parts:
        raise DataError(f"{source.name}: no picture could be read" + (f"; {failures[0]}" if failures else ""))
    strings, thumbnails = zip(*parts, strict=True)
    return LabelledStrings(
        source.name, join(list(strings)), torch.tensor(labels), torch.cat(thumbnails), source.class_names, tuple(failures)
    )


def _encode(tokenizer: AnyTokenizer, tiles: Sequence[np.ndarray]) -> tuple[Strings, Tensor]:
    images = from_eight_bit(np.stack(tiles))
    thumbnails = interpolate(images, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), mode="bilinear", antialias=True, align_corners=False)
    return encode(tokenizer, images), thumbnails.flatten(1) * 2 - 1


def _tile(pixels: np.ndarray, size: tuple[int, int], *, whole: bool) -> np.ndarray:
    return resize(pixels, *size) if whole else center_tile(pixels, size)


def _label(source: Source, sample: Sample) -> int:
    if sample.label is None or sample.label < 0:
        raise DataError(
            f"{source.name}: {sample.key} has no label; a probe needs a class for every picture: a parquet table with a column `label`, "
            "or tars with .cls files"
        )
    if source.class_names is not None and sample.label >= len(source.class_names):
        raise DataError(f"{source.name}: {sample.key} has the label {sample.label}, and {len(source.class_names)} classes are named")
    return sample.label


def _some(strings: Strings, places: Tensor) -> Strings:
    return strings[places] if isinstance(strings, Tokens) else strings.at(strings.mean[places])
