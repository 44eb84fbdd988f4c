"""Times: how often a training draws each, and the grids that solvers step through."""

import math
from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import Tensor


class _Times(BaseModel, ABC):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def at(self, share: Tensor) -> Tensor:
        """The times (B,) that values (B,) drawn evenly from [0, 1) become; float64 in, float64 out."""


class UniformTimes(_Times):
    """Every time as often."""

    kind: Literal["uniform"] = "uniform"

    def at(self, share: Tensor) -> Tensor:
        return share


class ModeTimes(_Times):
    """Times in the middle more often than at both ends (arXiv 2403.03206, section 3.1, "mode sampling with heavy tails").

    Args:
        scale: 0 is uniform; FlexTok has 0.25; from 2 / (pi - 2) = 1.75 on times would no longer be one for each draw.
    """

    kind: Literal["mode"] = "mode"
    scale: float = Field(0.25, ge=-1, le=1.75)

    def at(self, share: Tensor) -> Tensor:
        return 1 - share - self.scale * (torch.cos(math.pi / 2 * share) ** 2 - 1 + share)


class LogitNormalTimes(_Times):
    """sigmoid(mean + std * normal) (arXiv 2403.03206, section 3.1), which hardly ever draws the ends.

    Args:
        mean, std: of the normal.
        uniform_share: part of the draws that every time has as often. Without it the start from pure noise is not learned.
    """

    kind: Literal["logit_normal"] = "logit_normal"
    mean: float = Field(0.0, allow_inf_nan=False)
    std: float = Field(1.0, gt=0, allow_inf_nan=False)
    uniform_share: float = Field(0.1, ge=0, le=1)

    def at(self, share: Tensor) -> Tensor:
        even, rest = share < self.uniform_share, 1 - self.uniform_share
        normal = torch.special.ndtri(((share - self.uniform_share) / (rest or 1)).clamp(min=0))
        return torch.where(even, share / (self.uniform_share or 1), torch.sigmoid(self.mean + self.std * normal))


class ConstantTimes(_Times):
    """One time for all draws.

    Args:
        time: with 1 the decoder never sees anything but noise, so that it learns the mean of the maps that fit the tokens, as a
            feed-forward decoder trained on the squared error does.
    """

    kind: Literal["constant"] = "constant"
    time: float = Field(1.0, ge=0, le=1)

    def at(self, share: Tensor) -> Tensor:
        return torch.full_like(share, self.time)


def _from_name(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


AnyTimes = UniformTimes | ModeTimes | LogitNormalTimes | ConstantTimes
TimeDistribution = Annotated[AnyTimes, Field(discriminator="kind"), BeforeValidator(_from_name)]
"""The type of the setting: `times = "uniform"`, `times = { kind = "mode", scale = 0.25 }`."""


def shifted(times: Tensor, shift: float) -> Tensor:
    """Times pulled toward noise by a shift above 1: a t / (1 + (a - 1) t) (arXiv 2403.03206, section 5.3.2)."""
    return shift * times / (shift * times + (1 - times))  # so that 0, 1 and a shift of 1 come out to the bit


def time_grid(steps: int, *, shift: float = 1.0) -> list[float]:
    """steps + 1 times from 1 down to 0, evenly spaced but for the shift."""
    even = torch.arange(steps, -1, -1, dtype=torch.float64) / steps
    grid: list[float] = shifted(even, shift).tolist()
    return grid
