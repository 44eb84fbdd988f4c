"""Codes that are signs: the places of bits in ids, and the entropies of independent bits without a table of codes."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

MAX_BITS = 62  # of an id, which is an int64
FirstBit = Literal["least", "most"]  # how significant the first bit of a sub-token is


def strides(sub_bits: Sequence[int], first: FirstBit) -> Tensor:
    """(D,) int64: what each of the bits, 1, adds to the id of its sub-token; these have `sub_bits` bits, one after another."""
    places = [place if first == "least" else count - 1 - place for count in sub_bits for place in range(count)]
    return 1 << torch.tensor(places)


def bit_entropy(odds: Tensor) -> Tensor:
    """Entropy in nats of each bit that is 1 with probability sigmoid(odds); entropies of independent bits add up."""
    return odds.sigmoid() * softplus(-odds) + (-odds).sigmoid() * softplus(odds)


def mean_joint(odds: Tensor) -> Tensor:
    """Mean over rows of the distribution of all b bits of a group together.

    The bits of a row are independent, so that its distribution is the outer product of those of its first and its last bits, and the mean
    of these a matrix product: N * 2**(b/2) numbers stand in memory, not N * 2**b.

    Args:
        odds: (N, G, b): of each bit being 1, as of `bit_entropy`.

    Returns:
        (G, 2**b), where the first bit is the most significant.
    """
    half = odds.shape[-1] // 2
    first, last = (_joint(part) for part in odds.split([half, odds.shape[-1] - half], -1))
    return torch.einsum("ngu,ngv->guv", first, last).flatten(1) / len(odds)


def _joint(odds: Tensor) -> Tensor:
    """Odds (N, G, b) to distributions (N, G, 2**b)."""
    joint = odds.new_ones(*odds.shape[:-1], 1)
    for own in odds.unbind(-1):
        joint = (joint[..., None] * torch.stack([(-own).sigmoid(), own.sigmoid()], -1)[..., None, :]).flatten(-2)
    return joint
