"""Rate control: which tile gets how many tokens, so that a file of given size has the least error.

One multiplier for the whole picture trades error for tokens in every tile alike (Lagrangian bit allocation: Shoham and Gersho, 1988).
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vtok.codec.layers import Lengths
from vtok.errors import BudgetError
from vtok.tokenizers.spec import TokenSpec

Errors = npt.NDArray[np.floating]
SizeOf = Callable[[Lengths], int]

_STEPS = 40  # of bisection: from the largest multiplier down to one in 10**12
_ROUNDS = 32  # of spending what is left; a few do nearly always


def allocate(errors: Errors, prefix_lengths: Sequence[int] | Lengths, multiplier: float) -> Lengths:
    """Length of each tile that minimises error + multiplier * tokens: a corner of the convex hull of its errors.

    Args:
        errors: (tiles, 1 + len(prefix_lengths)); column 0 is no token, which is never chosen.
        prefix_lengths: lengths that decode, rising.
        multiplier: error that one token must save, at least 0. Of equal sums the shorter length wins.
    """
    lengths = np.asarray(prefix_lengths, np.int64)
    chosen: Lengths = lengths[(errors[:, 1:] + multiplier * lengths).argmin(1)]
    return chosen


def lengths_for_bytes(errors: Errors, spec: TokenSpec, size_of: SizeOf, budget: int) -> Lengths:
    """Lengths of all tiles with the least total error whose file takes at most `budget` bytes.

    Args:
        errors: (tiles, 1 + len(spec.prefix_lengths)), as `Tokenizer.encode_grid_with_errors` gives them.
        size_of: bytes of the file with given lengths; equal lengths of the fewest tokens make the smallest.
        budget: bytes of the whole file.

    Raises:
        BudgetError: not even one token a tile fits.
    """
    uniform = _best_uniform(errors, spec, size_of, budget)
    varied = _Search(errors, np.asarray(spec.prefix_lengths, np.int64), spec.stored_bits, size_of, budget).best()
    return min((uniform, varied), key=lambda lengths: float(_errors_at(errors, spec.prefix_lengths, lengths).sum()))


@dataclass(frozen=True, eq=False)
class _Search:
    """What all steps of the search need."""

    errors: Errors  # (tiles, 1 + prefixes)
    prefixes: Lengths
    stored_bits: int  # of a token
    size_of: SizeOf
    budget: int

    def best(self) -> Lengths:
        lengths = self._upgrade(*self._neighbours())
        for _ in range(_ROUNDS):
            longer = self._spend(lengths)
            if longer is lengths:
                break
            lengths = longer
        return lengths

    def _spend(self, lengths: Lengths) -> Lengths:
        """Longer strings for the bytes left; `lengths` itself when these do for nothing."""
        for among in (self.prefixes, np.unique(lengths)):  # a length that no tile has yet may cost more in the header than is left
            longer = self._upgrade(lengths, self._steepest(lengths, among))
            if (longer != lengths).any():
                return longer
        return lengths

    def _neighbours(self) -> tuple[Lengths, Lengths]:
        """Lengths at two near multipliers, of which the first fit and the second do not; twice the best where these fit."""
        richest = allocate(self.errors, self.prefixes, 0)
        if self._fits(richest):
            return richest, richest
        fitting, too_large = np.full(len(self.errors), self.prefixes[0]), richest
        high = self._largest_multiplier()
        low = high * 1e-12
        for _ in range(_STEPS):
            if np.count_nonzero(fitting != too_large) <= 1:
                break
            middle = (low * high) ** 0.5
            lengths = allocate(self.errors, self.prefixes, middle)
            if self._fits(lengths):
                fitting, high = lengths, middle
            else:
                too_large, low = lengths, middle
        return fitting, too_large

    def _largest_multiplier(self) -> float:
        """One above which every tile has its shortest length."""
        saved = self.errors[:, 1, None] - self.errors[:, 2:]
        return float((saved / (self.prefixes[1:] - self.prefixes[0])).max()) * 1.01

    def _steepest(self, lengths: Lengths, among: Lengths) -> Lengths:
        """The longer length, of those in `among`, that saves most error a token and for which the bytes left may do."""
        present = np.searchsorted(self.prefixes, lengths)
        spare = 8 * (self.budget - self.size_of(lengths)) // self.stored_bits
        tokens = self.prefixes - lengths[:, None]  # (tiles, prefixes)
        saved = np.take_along_axis(self.errors[:, 1:], present[:, None], 1) - self.errors[:, 1:]
        open_to = (tokens > 0) & (tokens <= spare) & np.isin(self.prefixes, among)
        slopes = np.where(open_to, saved / np.maximum(tokens, 1), 0)
        return np.where(slopes.max(1) > 0, self.prefixes[slopes.argmax(1)], lengths)

    def _upgrade(self, lengths: Lengths, wanted: Lengths) -> Lengths:
        """Take over the wanted lengths, those that save most error a token first, while the file fits."""
        tiles = np.flatnonzero(wanted > lengths)
        saved = _errors_at(self.errors, self.prefixes, lengths) - _errors_at(self.errors, self.prefixes, wanted)
        order = tiles[np.argsort(-(saved / np.maximum(wanted - lengths, 1))[tiles], kind="stable")]

        def taken(count: int) -> Lengths:
            chosen = lengths.copy()
            chosen[order[:count]] = wanted[order[:count]]
            return chosen

        fitting = bisect_right(range(1, len(order) + 1), self.budget, key=lambda count: self.size_of(taken(count)))
        return taken(fitting)  # bisection ends on a count that it has seen to fit, or on none

    def _fits(self, lengths: Lengths) -> bool:
        return self.size_of(lengths) <= self.budget


def _best_uniform(errors: Errors, spec: TokenSpec, size_of: SizeOf, budget: int) -> Lengths:
    def lengths(count: int) -> Lengths:
        return np.full(len(errors), count, np.int64)

    fitting = bisect_right(spec.prefix_lengths, budget, key=lambda count: size_of(lengths(count)))
    if not fitting:
        first = spec.prefix_lengths[0]
        needed = f"{len(errors)} tile{'s' * (len(errors) > 1)} of {first} token{'s' * (first > 1)} take {size_of(lengths(first))}"
        advice = "" if len(errors) == 1 else ", or code the whole picture as one string (--whole)"
        raise BudgetError(f"{budget} bytes are too few: {needed}; allow that many{advice}")
    best = int(errors[:, 1 : fitting + 1].sum(0, dtype=np.float64).argmin())
    return lengths(spec.prefix_lengths[best])


def _errors_at(errors: Errors, prefixes: Sequence[int] | Lengths, lengths: Lengths) -> npt.NDArray[np.float64]:
    columns = 1 + np.searchsorted(prefixes, lengths)
    return np.take_along_axis(errors, columns[:, None], 1)[:, 0].astype(np.float64)
