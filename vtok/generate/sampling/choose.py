"""One of many codes by their logits: temperature, top-k, top-p; the noise is given."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vtok.errors import ConfigError

_SMALLEST, _LARGEST = 2.0**-60, 1 - 2.0**-24  # of the noise: so that its logarithms are finite in float32


@dataclass(frozen=True)
class Choice:
    """How one of many codes is chosen.

    Args:
        temperature: that logits are divided by; at 0 the best code is taken. 1e-5 is the lowest that counts otherwise.
        top_k: keep so many of the best codes, and those as good as the last of them; 0 keeps all.
        top_p: then keep the best codes up to the one with which their probability exceeds this; 1 keeps all.

    Raises:
        ConfigError: a number that none of these can be.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(f"temperature must be 0 or more, got {self.temperature}")
        if self.top_k < 0:
            raise ConfigError(f"top_k must be 0, for all codes, or more, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be above 0 and at most 1, for all codes, got {self.top_p}")

    @property
    def greedy(self) -> bool:
        """Whether it takes the best code, so that it needs no noise."""
        return self.temperature == 0


GREEDY = Choice(temperature=0)


def choose(logits: Tensor, choice: Choice, noise: Tensor | None) -> Tensor:
    """Ids (R,) drawn from the softmax of logits (R, V), by the exponential race: the code whose exponential variable, divided by its
    probability, is least. Rounding of the logits changes a draw only where the two best are as near as the rounding.

    Args:
        noise: (R, V) float64 in [0, 1), evenly drawn; needed unless the choice is greedy.
    """
    if choice.greedy or noise is None:
        return logits.argmax(-1)
    waits = noise.float().clamp_(_SMALLEST, _LARGEST).neg_().log1p_().neg_()  # exponential
    return (kept(logits, choice) - waits.log_()).argmax(-1)


def kept(logits: Tensor, choice: Choice) -> Tensor:
    """Logits (R, V) over the temperature, and -inf for the codes that are not kept.

    This is LlamaGen's rule. FlexTok's walks up from the worst code and drops while the sum of probabilities is at most 1 - top_p: that
    keeps the same codes, unless a sum is top_p to the last bit. There top_p 0 says that all are kept; here 1 does.
    """
    logits = logits.float() / max(choice.temperature, 1e-5)
    if 0 < choice.top_k < logits.shape[-1]:
        worst = logits.topk(choice.top_k).values[..., -1:]
        logits = logits.masked_fill(logits < worst, -math.inf)
    if choice.top_p < 1:
        best_first, order = logits.sort(-1, descending=True)
        shares = best_first.softmax(-1)
        beyond = shares.cumsum(-1) - shares > choice.top_p
        logits = logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -math.inf)
    return logits
