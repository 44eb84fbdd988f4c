"""Strings from RAR's network, in the order of their places (arXiv 2411.00776, section 4)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vtok.generate.sampling.choose import Choice, choose
from vtok.generate.sampling.guidance import Guidance
from vtok.generate.sampling.noise import StringNoise
from vtok.models.conditions import Given
from vtok.models.flow.guidance import classifier_free
from vtok.models.key_value_cache import KeyValueCache
from vtok.models.packed_linear import packed
from vtok.models.rar import BEFORE, Rar


@dataclass(frozen=True)
class RarOptions:
    """How tokens are drawn.

    Args:
        choice: of a code.
        guidance: its published schedule is "cosine".
    """

    choice: Choice = Choice()  # noqa: RUF009 - frozen
    guidance: Guidance = Guidance()  # noqa: RUF009 - frozen


@torch.no_grad()
def sample_rar(network: Rar, num: int, given: Given, length: int, options: RarOptions, seed: int, prefix: Tensor | None = None) -> Tensor:
    """Ids (num, length) int64; string i has noise of seed + i, whatever is drawn beside it.

    Args:
        given: classes (num,) int64; None for none.
        length: tokens of each, the first ones of what a longer string would be.
        prefix: (num, P) int64, what the strings begin with.

    Raises:
        UnsupportedError: classes that the network does not know.
    """
    network.config.ids.check(given, num)
    network = packed(network).eval()
    device, noise = network.start.device, StringNoise(seed + number for number in range(num))
    guided = options.guidance.tokens(length) if given is not None else 0
    ids = torch.empty(num, length, dtype=torch.int64, device=device)
    begun = 0 if prefix is None else prefix.shape[1]
    if prefix is not None:
        ids[:, :begun] = prefix.to(device)
    classes = network.classes(given if given is None else given.to(device), num)
    if guided > begun:
        classes = torch.cat([classes, network.classes(None, num)])
    for token, logits in enumerate(_steps(network, classes, ids, begun), begun):
        if len(logits) > num:
            scale = options.guidance.at(token, network.config.num_tokens)
            logits = logits[:num] if scale == 1 else classifier_free(logits[:num], logits[num:], scale)
        even = None if options.choice.greedy else noise(*logits.shape).to(device)
        ids[:, token] = choose(logits, options.choice, even)
    return ids


def _steps(network: Rar, classes: Tensor, ids: Tensor, begun: int) -> Iterator[Tensor]:
    """Logits (R, K) of one token after another; the ids (num, length) of those before it must be there when it is asked for.

    Args:
        classes: (R, D), R a multiple of num.
        begun: tokens that are there already.
    """
    config, length = network.config, ids.shape[1]
    rows, width = len(classes), config.dim // config.heads
    cache = KeyValueCache((config.depth, rows, config.heads, BEFORE + length, width), network.start)
    places = torch.arange(config.num_tokens, device=ids.device).expand(rows, -1)
    repeats = rows // len(ids)
    filled = 0
    for token in range(begun, length):
        tokens = network.table(ids[:, :token].repeat(repeats, 1))
        x = network.embedded(classes, tokens, places)[:, filled:]
        known = classes[:, None] + network.steps[filled : BEFORE + token]
        filled = BEFORE + token
        yield network.logits(network.through(x, known, cache.layers)[:, -1], known[:, -1]).float()
