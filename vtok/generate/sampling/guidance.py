"""Classifier-free guidance of strings (arXiv 2207.12598): how much, and for which tokens."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from vtok.errors import ConfigError

Schedule = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class Guidance:
    """How much of the condition's say is added: logits = without + scale * (with - without).

    Args:
        scale: 1 or less is no guidance: then nothing is computed without the condition.
        schedule: "constant"; or rising from 1 at the first token toward the scale at the last: "linear" with its share of the string,
            "cosine" with (1 - cos(pi * share^power)) / 2 (RAR, arXiv 2411.00776).
        power: of the cosine; the larger, the later it rises.
        start, stop: the tokens that are guided, from 0, as of a slice; None is the end. LlamaGen's `cfg_interval` n is a stop of n + 2.

    Raises:
        ConfigError: a number that none of these can be.
    """

    scale: float = 1.0
    schedule: Schedule = "constant"
    power: float = 1.0
    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.scale < math.inf:
            raise ConfigError(f"the scale of guidance must be 0 or more, got {self.scale}; 1 or less is none")
        if self.schedule not in get_args(Schedule):
            raise ConfigError(f"no schedule of guidance {self.schedule!r}; there are: {', '.join(get_args(Schedule))}")
        if not 0 <= self.power < math.inf:
            raise ConfigError(f"the power of guidance must be 0 or more, got {self.power}")
        if self.start < 0 or (self.stop is not None and self.stop < 0):
            raise ConfigError(f"guided tokens are counted from 0, got {self.start} to {self.stop}")

    def at(self, token: int, max_tokens: int) -> float:
        """The scale for one token; 1 where it is not guided.

        Args:
            max_tokens: of a string at full length, so that a string that stops early is as the first part of a longer one.
        """
        if self.scale <= 1 or token < self.start or (self.stop is not None and token >= self.stop):
            return 1.0
        share = token / max_tokens
        match self.schedule:
            case "linear":
                return 1 + (self.scale - 1) * share
            case "cosine":
                return 1 + (self.scale - 1) * (1 - math.cos(math.pi * share**self.power)) / 2
        return self.scale

    def tokens(self, num_tokens: int) -> int:
        """How many of the first tokens must be computed without the condition too: up to the last that is guided."""
        end = num_tokens if self.stop is None else min(num_tokens, self.stop)
        return end if self.scale > 1 and end > self.start else 0
