"""The names of figures that an evaluation is asked for."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vtok.errors import ConfigError
from vtok.eval.pairs.measures import TABLE as PAIRS

StatisticKind = Literal["fd", "kd", "is", "precision", "recall", "density", "coverage", "cmmd"]
RecognitionKind = Literal["top1", "agreement"]

_ON_INCEPTION: dict[str, tuple[StatisticKind, str]] = {  # name: kind, output of the network
    "fid": ("fd", "features"),
    "sfid": ("fd", "spatial"),
    "kid": ("kd", "features"),
    "is": ("is", "logits"),
    "precision": ("precision", "features"),
    "recall": ("recall", "features"),
    "density": ("density", "features"),
    "coverage": ("coverage", "features"),
}
_BY_BACKBONE: tuple[StatisticKind, ...] = ("fd", "kd", "precision", "recall", "density", "coverage")
_RECOGNITION: tuple[RecognitionKind, ...] = ("top1", "agreement")
_NAMED_BACKBONES = ("alex", "efflite0", "dinov2")
KERNEL_OF_SMALL_SETS = {"fd": "kd"}  # what is measured in the place of a distance that few pictures cannot give


@dataclass(frozen=True)
class Statistic:
    """A figure of two sets of pictures, or of one.

    Args:
        name: as it stands in tables and records: "rfid", "fd_alex".
        kind: what is computed.
        backbone: whose outputs it is computed of.
        output: which of them.
    """

    name: str
    kind: StatisticKind
    backbone: str
    output: str = "features"

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better."""
        return self.kind not in ("fd", "kd", "cmmd")

    @property
    def digits(self) -> int:
        """Behind the decimal point in a table."""
        return 2 if self.kind in ("fd", "is") else 4


@dataclass(frozen=True)
class Recognised:
    """A figure of a classifier: `kind` "top1" needs labels, "agreement" asks whether it says the same as of the original."""

    name: str
    kind: RecognitionKind
    backbone: str


@dataclass(frozen=True)
class MetricPlan:
    """What is to be measured.

    Args:
        pairs: names of `vtok.eval.pairs.measures`.
        statistics: of sets of pictures.
        recognition: by classifiers.
    """

    pairs: tuple[str, ...]
    statistics: tuple[Statistic, ...]
    recognition: tuple[Recognised, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all figures, in the order of tables."""
        return (*self.pairs, *(wanted.name for wanted in self.statistics), *(wanted.name for wanted in self.recognition))

    @property
    def backbones(self) -> tuple[str, ...]:
        """Of the statistics, each once."""
        return tuple(dict.fromkeys(statistic.backbone for statistic in self.statistics))

    @property
    def classifiers(self) -> tuple[str, ...]:
        """Backbones that recognise, each once."""
        return tuple(dict.fromkeys(recognised.backbone for recognised in self.recognition))


def plan_metrics(names: Sequence[str], *, of: Literal["reconstructions", "samples"]) -> MetricPlan:
    """Sort names into what they ask for.

    Args:
        names: those of `vtok.eval.pairs.measures`; "rfid" ("gfid" of samples, "fid" of both), "sfid", "kid", "is", "precision", "recall",
            "density", "coverage"; with another network "fd_NAME", "kd_NAME", "precision_NAME" and so on, NAME being "alex", "efflite0",
            "dinov2" or a model of timm; "cmmd"; "top1_NAME", "agreement_NAME".

    Raises:
        ConfigError: a name that means nothing here; the message has the nearest.
    """
    pairs, statistics, recognition = [], [], []
    for name in dict.fromkeys(names):
        if name in PAIRS and of == "reconstructions":
            pairs.append(name)
        elif (recognised := _recognised(name)) is not None and of == "reconstructions":
            recognition.append(recognised)
        elif (statistic := _statistic(name, of)) is not None:
            statistics.append(statistic)
        else:
            raise ConfigError(_complaint(name, of))
    return MetricPlan(tuple(pairs), tuple(statistics), tuple(recognition))


def _statistic(name: str, of: str) -> Statistic | None:
    fid = "rfid" if of == "reconstructions" else "gfid"
    if name in ("fid", fid):
        return Statistic(fid, "fd", "inception")
    if name in _ON_INCEPTION:
        kind, output = _ON_INCEPTION[name]
        return Statistic(name, kind, "inception", output)
    if name == "cmmd":
        return Statistic(name, "cmmd", "clip")
    prefix, _, backbone = name.partition("_")
    found = next((kind for kind in _BY_BACKBONE if kind == prefix), None)
    return Statistic(name, found, backbone) if found and backbone else None


def _recognised(name: str) -> Recognised | None:
    prefix, _, backbone = name.partition("_")
    found = next((kind for kind in _RECOGNITION if kind == prefix), None)
    return Recognised(name, found, backbone) if found and backbone else None


def _complaint(name: str, of: str) -> str:
    if name in PAIRS or _recognised(name) is not None:
        return f"{name} compares pictures with their originals, which samples of a generator do not have"
    known = [*PAIRS, "rfid" if of == "reconstructions" else "gfid", *_ON_INCEPTION, "cmmd"]
    known += [f"{kind}_{backbone}" for kind in (*_BY_BACKBONE, *_RECOGNITION) for backbone in _NAMED_BACKBONES]
    near = difflib.get_close_matches(name, known, n=1)
    return (
        f"no metric {name!r}{f'; did you mean {near[0]}?' if near else ''} (known: {', '.join(known[: len(PAIRS) + 9])}, fd_NETWORK, ...)"
    )
