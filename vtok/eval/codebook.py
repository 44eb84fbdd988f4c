"""How a set of token strings uses its codebooks, position by position."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vtok.errors import UnsupportedError

MAX_COUNTERS = 2**28  # 2 GiB


@dataclass(frozen=True, eq=False)
class CodebookUse:
    """Of each position and codebook, (P, K) float64.

    Args:
        num_strings: most that were counted at a position; no more codes of it can have been used.
        usage: share of the codes that were used.
        entropy_bits: entropy of the codes in bits; log2 of the codebook size when all are used evenly.
    """

    num_strings: int
    usage: Tensor
    entropy_bits: Tensor


class CodebookStatistics:
    """Exact counts of all codes at all positions.

    Args:
        codebook_sizes: of the K codebooks.
        num_positions: P of a string.
        device: where counts are kept.

    Raises:
        UnsupportedError: more than 2**28 counters.
    """

    counts: tuple[Tensor, ...]  # for each codebook (P, codebook size) int64

    def __init__(self, codebook_sizes: Sequence[int], num_positions: int, *, device: torch.device | str = "cpu"):
        if num_positions * sum(codebook_sizes) > MAX_COUNTERS:
            raise UnsupportedError(
                f"{num_positions} positions of {' + '.join(map(str, codebook_sizes))} codes are too many to count one by one, "
                f"at most 2**{math.log2(MAX_COUNTERS):.0f}"
            )
        self.counts = tuple(torch.zeros(num_positions, size, dtype=torch.int64, device=device) for size in codebook_sizes)

    def update(self, ids: Tensor, lengths: Tensor | None = None) -> None:
        """Count ids (B, P, K) int64; of each string only the first `lengths` (B,) positions when given.

        Raises:
            ValueError: ids of another shape, or outside their codebook.
        """
        num_positions = len(self.counts[0])
        if ids.ndim != 3 or ids.shape[1:] != (num_positions, len(self.counts)):
            raise ValueError(f"ids must be (B, {num_positions}, {len(self.counts)}), got {tuple(ids.shape)}")
        device = self.counts[0].device
        ids = ids.to(device)
        positions = torch.arange(num_positions, device=device)
        counted = slice(None) if lengths is None else positions < lengths.to(device)[:, None]
        for counts, own in zip(self.counts, ids.unbind(2), strict=True):
            size = counts.shape[1]
            if len(own) and not 0 <= int(own.min()) <= int(own.max()) < size:
                raise ValueError(f"ids must be 0 to {size - 1}, got {int(own.min())} to {int(own.max())}")
            flat = (own + size * positions)[counted].flatten()
            counts.view(-1).index_add_(0, flat, torch.ones_like(flat))

    def merge(self, other: "CodebookStatistics") -> None:
        """Add what another, of the same sizes, has counted.

        Raises:
            ValueError: other sizes.
        """
        if [counts.shape for counts in self.counts] != [counts.shape for counts in other.counts]:
            raise ValueError("statistics of other codebook sizes or another number of positions")
        for counts, theirs in zip(self.counts, other.counts, strict=True):
            counts += theirs.to(counts.device)

    def compute(self) -> CodebookUse:
        """Usage and entropy; both 0 where nothing was counted."""
        usage = [(counts > 0).double().mean(1) for counts in self.counts]
        num_strings = int(self.counts[0].sum(1).max())
        return CodebookUse(num_strings, torch.stack(usage, 1), torch.stack([_entropy_bits(counts) for counts in self.counts], 1))


def _entropy_bits(counts: Tensor) -> Tensor:
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1).double()
    entropy: Tensor = torch.special.entr(shares).sum(1)
    return entropy / math.log(2)
