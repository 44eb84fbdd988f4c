"""How a set of token strings uses its codebooks, position by position."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from vtok.errors import UnsupportedError

MAX_DIFFERENT = 2**27  # codes that occurred, each position's own: 2 GiB
MAX_WAITING = 2**22  # ids kept before they are counted: 32 MiB


@dataclass(frozen=True, eq=False)
class Counts:
    """How often codes occurred: ids (U,) int64, rising, of those that did, and counts (U,) int64."""

    ids: Tensor
    counts: Tensor

    @classmethod
    def of(cls, ids: Tensor) -> Self:
        """Count ids (N,)."""
        return cls(*ids.unique(return_counts=True))

    @classmethod
    def cat(cls, parts: Sequence["Counts"]) -> Self:
        """The sum of counts; at least one."""
        ids, places = torch.cat([part.ids for part in parts]).unique(return_inverse=True)
        return cls(ids, torch.zeros_like(ids).index_add_(0, places, torch.cat([part.counts for part in parts])))

    @property
    def total(self) -> int:
        """Of all codes together."""
        return int(self.counts.sum())

    @property
    def entropy_bits(self) -> float:
        """Of the shares of the codes; 0 when there are none."""
        return float(torch.special.entr(self.counts.double() / max(1, self.total)).sum()) / math.log(2)


@dataclass(frozen=True, eq=False)
class CodebookUse:
    """Figures of each position and codebook, (P, K).

    Args:
        codebook_sizes: of the K codebooks.
        strings: (P,) int64, how many had the position.
        used: int64, different codes that occurred.
        entropy_bits: float64, of their shares among these strings, so too low where strings are few, see `entropy_shortfall`.
        num_dead: codes of each codebook that occurred at no position.
    """

    codebook_sizes: tuple[int, ...]
    strings: Tensor
    used: Tensor
    entropy_bits: Tensor
    num_dead: tuple[int, ...]

    @property
    def num_strings(self) -> int:
        """Most that were counted at a position; no more codes of it can have been used."""
        return int(self.strings.max())

    @property
    def usage(self) -> Tensor:
        """(P, K) float64 share of the codes that were used."""
        return self.used / self._sizes

    @property
    def perplexity(self) -> Tensor:
        """(P, K) float64: as many codes used evenly have this entropy."""
        return self.entropy_bits.exp2()

    @property
    def entropy_shortfall(self) -> Tensor:
        """(P, K) float64 bits by which `entropy_bits` is at most too low in the mean over draws of the strings, which must be independent.

        log2(1 + (codes - 1) / strings), of Paninski, "Estimation of entropy and mutual information" (2003), section 4; inf without strings.
        """
        return torch.log2(1 + (self._sizes - 1) / self.strings[:, None])

    @property
    def stored_bits(self) -> Tensor:
        """(K,) int64 bits that an id of each codebook takes when packed."""
        return torch.tensor([(size - 1).bit_length() for size in self.codebook_sizes])

    @property
    def saved_bits(self) -> tuple[Tensor, Tensor]:
        """Least and most, (P, K) float64, of the stored bits that an order-0 entropy coder saves which knows the shares of the codes.

        The most is what the measured entropy says; the least allows for `entropy_shortfall`.
        """
        highest = torch.minimum(self.entropy_bits + self.entropy_shortfall, self._sizes.log2())
        return self.stored_bits - highest, self.stored_bits - torch.minimum(self.entropy_bits, self._sizes.log2())

    @property
    def saved_bits_of_string(self) -> tuple[float, float]:
        """Least and most of all positions and codebooks together.

        The least may be below the sum of `saved_bits`: chance that raises it at some positions counts against chance that lowers others.
        """
        most = self.saved_bits[1]
        wasted = (self.stored_bits - self._sizes.log2()).sum() * len(self.strings)  # whatever the shares are
        return max(float((most - self.entropy_shortfall).sum()), float(wasted)), float(most.sum())

    @property
    def _sizes(self) -> Tensor:
        return torch.tensor(self.codebook_sizes, dtype=torch.float64)


class CodebookStatistics:
    """Exact counts of all codes at all positions, on the CPU; memory grows with the codes that occur, not with those there are.

    Args:
        codebook_sizes: of the K codebooks.
        num_positions: P of a string.

    Raises:
        UnsupportedError: from any method, more than 2**27 different codes at their positions by now.
    """

    def __init__(self, codebook_sizes: Sequence[int], num_positions: int):
        self.codebook_sizes = tuple(codebook_sizes)
        self.num_positions = num_positions
        nothing = Counts.of(torch.empty(0, dtype=torch.int64))
        self._counts = [[nothing] * num_positions for _ in self.codebook_sizes]
        self._waiting: list[tuple[Tensor, Tensor]] = []  # ids (B, P, K) and lengths (B,)

    def update(self, ids: Tensor, lengths: Tensor | None = None) -> None:
        """Count ids (B, P, K) int64; of each string only the first `lengths` (B,) positions when given.

        Raises:
            ValueError: ids of another shape, or outside their codebook.
        """
        expected = (self.num_positions, len(self.codebook_sizes))
        if ids.ndim != 3 or ids.shape[1:] != expected:
            raise ValueError(f"ids must be (B, {expected[0]}, {expected[1]}), got {tuple(ids.shape)}")
        if not len(ids):
            return
        own = ids.detach().cpu()
        for size, low, high in zip(self.codebook_sizes, own.amin((0, 1)).tolist(), own.amax((0, 1)).tolist(), strict=True):
            if not 0 <= low <= high < size:
                raise ValueError(f"ids must be 0 to {size - 1}, got {low} to {high}")
        self._waiting.append((own, torch.full((len(own),), self.num_positions) if lengths is None else lengths.cpu()))
        if sum(waiting.numel() for waiting, _ in self._waiting) > MAX_WAITING:
            self._count()

    def merge(self, other: "CodebookStatistics") -> None:
        """Add what another, of the same sizes, has counted.

        Raises:
            ValueError: other sizes.
        """
        if (self.codebook_sizes, self.num_positions) != (other.codebook_sizes, other.num_positions):
            raise ValueError("statistics of other codebook sizes or another number of positions")
        other._count()
        self._add(other._counts)

    def counts(self, codebook: int, positions: Iterable[int] | None = None) -> Counts:
        """Of one codebook at some positions together, all when None."""
        self._count()
        found = self._counts[codebook]
        return Counts.cat([found[position] for position in (range(self.num_positions) if positions is None else positions)])

    def compute(self) -> CodebookUse:
        """The figures; entropies are 0 where nothing was counted."""
        self._count()
        by_position = list(zip(*self._counts, strict=True))
        return CodebookUse(
            self.codebook_sizes,
            torch.tensor([counts[0].total for counts in by_position]),
            torch.tensor([[len(own.ids) for own in counts] for counts in by_position]),
            torch.tensor([[own.entropy_bits for own in counts] for counts in by_position], dtype=torch.float64),
            tuple(size - len(self.counts(k).ids) for k, size in enumerate(self.codebook_sizes)),
        )

    def _count(self) -> None:
        """Count what waits."""
        if not self._waiting:
            return
        ids, lengths = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting = []
        self._add([[Counts.of(own[lengths > p, p]) for p in range(self.num_positions)] for own in ids.unbind(2)])

    def _add(self, others: Sequence[Sequence[Counts]]) -> None:
        for own, their in zip(self._counts, others, strict=True):
            own[:] = [Counts.cat(pair) for pair in zip(own, their, strict=True)]
        if sum(len(counts.ids) for own in self._counts for counts in own) > MAX_DIFFERENT:
            raise UnsupportedError(f"more than 2**{math.log2(MAX_DIFFERENT):.0f} different codes at their positions; count fewer strings")
