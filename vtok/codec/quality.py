"""The fewest bytes whose decoded picture reaches a quality."""

import math
from collections.abc import Callable

import numpy as np

from vtok.codec.layers import Lengths
from vtok.codec.rate import Errors, SizeOf, allocate, lengths_for_bytes
from vtok.errors import BudgetError
from vtok.tokenizers.spec import TokenSpec

_MAX_DECODES = 8
_NEAR_DB = 0.01
_MARGIN = 0.05  # of the interval: aim a little above the mark, since a picture below it is of no use


def lengths_for_psnr(errors: Errors, spec: TokenSpec, size_of: SizeOf, measure: Callable[[Lengths], float], target: float) -> Lengths:
    """Lengths of all tiles for the smallest file found that reaches `target` dB.

    Interpolates quality over the logarithm of the size, between a file that reaches it and one that does not.

    Args:
        errors, size_of: as for `lengths_for_bytes`.
        measure: PSNR in dB of the decoded picture; called at most 8 times.

    Raises:
        BudgetError: all tokens do not reach it; the message has what they do reach.
    """
    best = allocate(errors, spec.prefix_lengths, 0)
    reached = measure(best)
    if reached < target:
        raise BudgetError(f"{target:g} dB asked, all tokens of this model reach {reached:.2f} dB here; ask for less, or take another model")
    low, missed, high = size_of(np.full_like(best, spec.prefix_lengths[0])), math.nan, size_of(best)
    for _ in range(_MAX_DECODES - 1):
        if reached - target < _NEAR_DB or high <= low:
            break
        lengths = lengths_for_bytes(errors, spec, size_of, _between(low, high, (target - missed) / (reached - missed)))
        quality = measure(lengths)
        if quality >= target:
            best, reached, high = lengths, quality, size_of(lengths)
        else:
            low, missed = size_of(lengths) + 1, quality
    return best


def _between(low: int, high: int, part: float) -> int:
    """A size at this part of the way in the logarithm, half-way when the part is not known; from low to below high."""
    part = min(max(part + _MARGIN, 0.1), 0.9) if math.isfinite(part) else 0.5
    return min(max(round(low * math.pow(high / low, part)), low), high - 1)
