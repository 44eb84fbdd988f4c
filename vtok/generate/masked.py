"""Strings from a network that says of all unknown tokens at once what they may be: the surest are kept, the others are asked again."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from vtok.errors import ConfigError
from vtok.generate.sampling.noise import StringNoise
from vtok.models.conditions import Given
from vtok.models.mask_bert import MaskBert
from vtok.models.mask_uvit import MaskUvit

Decay = Literal["constant", "linear", "power-cosine"]
Noise = Callable[[int, int, int], Tensor]
"""(strings, positions, numbers of each) to even noise in [0, 1) of that shape, for one draw after another."""


@dataclass(frozen=True)
class MaskedOptions:
    """How strings are drawn (MaskGIT, arXiv 2202.04200, with the additions of TiTok's repository).

    Args:
        steps: in which a string becomes known.
        guidance: scale g of the class's say. Under "constant" and "linear" the logits are with + g * (with - without), 0 being none;
            under "power-cosine" without + g * (with - without), as in the rest of the package, 1 being none.
        decay: how the scale goes: always g; rising from 0 with the share of steps done; or rising from 1 as a cosine of its power.
        power: of the cosine; the larger, the later it rises.
        temperature: of the noise, which falls to 0 with the steps.
        annealing: divide the logits by 1.3, falling to 0.5.

    Raises:
        ConfigError: a number that none of these can be.
    """

    steps: int = 8
    guidance: float = 3.0
    decay: Decay = "constant"
    power: float = 3.0
    temperature: float = 4.5
    annealing: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"a string is drawn in 1 step or more, got {self.steps}")
        if self.decay not in get_args(Decay):
            raise ConfigError(f"no decay of guidance {self.decay!r}; there are: {', '.join(get_args(Decay))}")
        for name in ("guidance", "power", "temperature"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be 0 or more, got {getattr(self, name)}")

    def scale(self, step: int) -> float:
        """Of guidance, at a step from 0."""
        match self.decay:
            case "constant":
                return self.guidance
            case "linear":
                return self.guidance * step / self.steps
        return (self.guidance - 1) * (1 - math.cos(math.pi * (step / self.steps) ** self.power)) / 2 + 1


@dataclass(frozen=True, eq=False)
class MaskedStep:
    """What a step found.

    Args:
        scale: of guidance.
        logits: (B, N, K), guided and over their temperature.
        chosen: (B, N) ids.
        confidence: (B, N), infinite where a token was known.
        num_masked: tokens that are asked again, but after the last step.
        ids: (B, N) after it, the mask's where a token is asked again.
    """

    scale: float
    logits: Tensor
    chosen: Tensor
    confidence: Tensor
    num_masked: int
    ids: Tensor


def sample_masked(network: MaskBert | MaskUvit, num: int, given: Given, options: MaskedOptions, seed: int) -> Tensor:
    """Ids (num, N) int64; string i has noise of seed + i, whatever is drawn beside it.

    Args:
        given: classes (num,) int64; None for none.

    Raises:
        UnsupportedError: classes that the network does not know.
    """
    network.config.ids.check(given, num)
    draws = StringNoise(seed + number for number in range(num))

    def noise(rows: int, positions: int, each: int) -> Tensor:
        return draws(rows, positions * each).float().view(rows, positions, each)

    *_, last = masked_steps(network, num, given, options, noise)
    return last.ids


@torch.no_grad()
def masked_steps(network: MaskBert | MaskUvit, num: int, given: Given, options: MaskedOptions, noise: Noise) -> Iterator[MaskedStep]:
    """One step after another, from a string of which nothing is known to one of which all is.

    Args:
        noise: for each step asked twice: for codes (B, N, K), then for the order of tokens (B, N, 1).
    """
    config, device = network.config, network.positions.device
    mask = config.ids.mask
    ids = torch.full((num, config.num_tokens), mask, device=device)
    for step in range(options.steps):
        done = (step + 1) / options.steps
        heat, unknown = options.temperature * (1 - done), ids == mask
        logits = _guided(network, ids, given, options.scale(step), options.decay)
        if options.annealing:
            logits = logits / (0.5 + 0.8 * (1 - done))
        drawn = logits + heat * _gumbel(noise(num, config.num_tokens, config.num_codes).to(device))
        chosen = torch.where(unknown, drawn.argmax(-1), ids)
        score = logits.gather(2, chosen.clamp(max=config.num_codes - 1)[..., None])[..., 0].masked_fill(~unknown, math.inf)
        num_masked = math.floor(config.num_tokens * math.acos(done) * 2 / math.pi)
        num_masked = max(1, min(int(unknown[0].sum()) - 1, num_masked))
        confidence = score + heat * _gumbel(noise(num, config.num_tokens, 1).to(device))[..., 0]
        cut = confidence.sort(-1).values[:, num_masked - 1, None]
        ids = chosen if step + 1 == options.steps else torch.where(confidence <= cut, mask, chosen)
        yield MaskedStep(options.scale(step), logits, chosen, confidence, num_masked, ids)


def _guided(network: MaskBert | MaskUvit, ids: Tensor, given: Given, scale: float, decay: Decay) -> Tensor:
    if scale == 0 or given is None or (decay == "power-cosine" and scale == 1):
        told: Tensor = network(ids, given)
        return told.float()
    dropped = torch.arange(2 * len(ids), device=ids.device) >= len(ids)
    classes = given if isinstance(given, Tensor) else None
    both = network(ids.repeat(2, 1), None if classes is None else classes.to(ids.device).repeat(2), dropped=dropped)
    with_class, without = both.float().chunk(2)
    base = without if decay == "power-cosine" else with_class
    return torch.add(base, with_class - without, alpha=scale)


def _gumbel(even: Tensor) -> Tensor:
    return -(-even.clamp(min=1e-20).log()).clamp(min=1e-20).log()
