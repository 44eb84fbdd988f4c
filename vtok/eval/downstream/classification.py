"""What a frozen classifier recognises in reconstructions, the test of One-D-Piece (arXiv 2501.10064)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from vtok.data.sources import Source
from vtok.errors import DataError, MissingExtraError, UnsupportedError

if TYPE_CHECKING:
    from vtok.eval.backbones.base import Backbone


class Recognition:
    """Compares what a classifier says of pictures with their labels, and with what it says of the originals.

    Args:
        backbone: gives "logits" (B, classes) of pictures (B, 3, H, W) float from 0 to 255.
        class_positions: for each label of the data set the place of its class in the logits, see `class_positions`; None where labels are
            not asked for.

    Raises:
        UnsupportedError: the backbone is no classifier.
    """

    def __init__(self, backbone: "Backbone", class_positions: Sequence[int] | None):
        if "logits" not in backbone.dims:
            raise UnsupportedError(f"{backbone.name} is no classifier, it gives {', '.join(backbone.dims)}; efflite0 is one")
        self.backbone = backbone
        self._positions = None if class_positions is None else torch.tensor(class_positions)

    def of(self, originals: Tensor, labels: Tensor | None = None) -> "RecognizedOriginals":
        """Classify originals once, for any number of comparisons.

        Args:
            originals: (B, 3, H, W) uint8, or float from 0 to 255.
            labels: (B,) int64 of the data set; not looked at without `class_positions`.

        Raises:
            DataError: labels are asked for, and are missing or of no class.
        """
        answers = None if self._positions is None else _Answers.of(labels, self._positions)
        return RecognizedOriginals(self, self.logits(originals), answers)

    def logits(self, pictures: Tensor) -> Tensor:
        """(B, classes) float32 on the CPU, of pictures (B, 3, H, W) uint8, or float from 0 to 255."""
        with torch.no_grad():
            logits: Tensor = self.backbone(pictures.to(torch.float32))["logits"]
        return logits.float().cpu()


class RecognizedOriginals:
    """A batch of originals that were classified; `Recognition.of` makes them.

    `top1` (B,) float64 says of which originals the class is recognised, 1 or 0; None without labels.
    """

    def __init__(self, recognition: Recognition, logits: Tensor, answers: "_Answers | None"):
        self._recognition = recognition
        self._said = logits.argmax(1)
        self._answers = answers
        self.top1 = None if answers is None else answers.right(logits)

    def compare(self, pictures: Tensor) -> dict[str, Tensor]:
        """What is still recognised in reconstructions of them, (B, 3, H, W) uint8, or float from 0 to 255.

        Returns:
            (B,) float64 of ones and zeros on the CPU: "agreement", whether the classifier says the same of all its classes as of the
            original; with labels also "top1", whether the best of the data set's own classes is the right one.
        """
        logits = self._recognition.logits(pictures)
        figures = {"agreement": (logits.argmax(1) == self._said).double()}
        return figures if self._answers is None else {"top1": self._answers.right(logits)} | figures


@dataclass(frozen=True, eq=False)
class _Answers:
    """Labels (B,) of pictures, and the places (C,) of the classes that they count."""

    labels: Tensor
    positions: Tensor

    @classmethod
    def of(cls, labels: Tensor | None, positions: Tensor) -> Self:
        if labels is None:
            raise DataError("top-1 needs the label of every picture, and some have none; agreement with the originals needs no labels")
        own = labels.cpu()
        if len(own) and not 0 <= int(own.min()) <= int(own.max()) < len(positions):
            raise DataError(f"labels {int(own.min())} to {int(own.max())} found, the data set names {len(positions)} classes")
        return cls(own, positions)

    def right(self, logits: Tensor) -> Tensor:
        """(B,) float64: 1 where the best of the data set's own classes is the label, otherwise 0."""
        return (logits[:, self.positions].argmax(1) == self.labels).double()


def class_positions(source: Source) -> list[int]:
    """For each label of a data set the place of its class among the 1,000 of ImageNet-1k, in the order of their WordNet ids.

    The data set names its classes by WordNet id, "n01443537", or all 1,000 of them as ImageNet does, "goldfish, Carassius auratus".

    Raises:
        DataError: it names none, or others.
        MissingExtraError: timm is not installed.
    """
    if source.class_names is None:
        raise DataError(
            f"{source.name}: names no classes, so labels cannot be compared with ImageNet's; take a parquet table with class labels, "
            "or measure the agreement with the originals, which needs none"
        )
    ids, descriptions = _imagenet()
    if list(source.class_names) == descriptions:
        return list(range(len(ids)))
    places = {name: place for place, name in enumerate(ids)}
    foreign = [name for name in source.class_names if name not in places]
    if foreign:
        raise DataError(
            f"{source.name}: {len(foreign)} of its {len(source.class_names)} classes are not ImageNet-1k's, {foreign[0]!r} among them; "
            "expected WordNet ids such as n01443537"
        )
    return [places[name] for name in source.class_names]


def _imagenet() -> tuple[list[str], list[str]]:
    """WordNet ids and descriptions of ImageNet-1k's classes."""
    try:
        from timm.data import ImageNetInfo
    except ImportError as error:
        raise MissingExtraError(
            f'ImageNet\'s classes are listed by timm, which is not installed ({error}): pip install "vtok[eval]"'
        ) from None
    info = ImageNetInfo("imagenet-1k")
    return info.label_names(), list(info.label_descriptions())
