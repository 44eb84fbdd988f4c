"""Strings of several scales, all tokens of a scale drawn at once (VAR, arXiv 2404.02905, section 3.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtok.errors import UnsupportedError
from vtok.generate.sampling.choose import Choice, choose
from vtok.generate.sampling.guidance import Guidance
from vtok.generate.sampling.noise import StringNoise
from vtok.models.conditions import Given
from vtok.models.flow.guidance import classifier_free
from vtok.models.key_value_cache import KeyValueCache
from vtok.models.next_scale import NextScale
from vtok.models.packed_linear import packed


@dataclass(frozen=True)
class NextScaleOptions:
    """How tokens are drawn.

    Args:
        choice: of a code.
        guidance: its start and stop, and the share that its schedules rise with, are counted in scales.
    """

    choice: Choice = Choice()  # noqa: RUF009 - frozen
    guidance: Guidance = Guidance()  # noqa: RUF009 - frozen


@torch.no_grad()
def sample_scales(
    network: NextScale, num: int, given: Given, num_scales: int, options: NextScaleOptions, seed: int, prefix: Tensor | None = None
) -> Tensor:
    """Ids (num, n) int64 of the first scales; string i has noise of seed + i, whatever is drawn beside it.

    Args:
        given: classes (num,) int64; None for none.
        prefix: (num, P) int64, whole scales that the strings begin with.

    Raises:
        UnsupportedError: a condition that the network does not know, guidance where it knows no "no condition", or half a scale.
    """
    config, device = network.config, network.positions.device
    network.condition.check(given, num)
    guided = options.guidance.tokens(num_scales)
    if guided and not network.condition.has_null:
        raise UnsupportedError("this generator has no 'no condition', so it cannot be guided; a scale of 1 is no guidance")
    network, noise = packed(network).eval(), StringNoise(seed + number for number in range(num))
    before = network.before(given if given is None else given.to(device), num)
    if guided:
        before = torch.cat([before, network.before(None, num)])
    begun = 0 if prefix is None else prefix.shape[1]
    if begun not in {sum(config.sizes[:level]) for level in range(len(config.sizes))}:
        raise UnsupportedError(f"{begun} tokens are no whole scales, which have {', '.join(map(str, config.sizes))}")
    trunk = config.trunk
    sizes = (trunk.depth, len(before), trunk.heads, config.max_tokens, trunk.head_dim)
    cache = KeyValueCache(sizes, network.positions, network.allowed.expand(len(before), -1, -1, -1))
    ids = torch.empty(num, 0, dtype=torch.int64, device=device)
    for level in range(num_scales):
        start, size = ids.shape[1], config.sizes[level]
        told = network.told(network.maps(ids.repeat(len(before) // num, 1)), level, before)
        logits = network.logits(network.trunk(told, network.turns(size), cache.layers)).float()
        if prefix is not None and start < begun:
            ids = torch.cat([ids, prefix[:, start : start + size].to(device)], 1)
            continue
        if guided:
            scale = options.guidance.at(level, len(config.sizes))
            logits = logits[:num] if scale == 1 else classifier_free(logits[:num], logits[num:], scale)
        even = None if options.choice.greedy else noise(num, size * config.num_codes).view(num * size, -1).to(device)
        ids = torch.cat([ids, choose(logits.flatten(0, 1), options.choice, even).view(num, size)], 1)
    return ids
