"""Codes decoded each alone: which are worth a look, and what they look like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch

from vtok.data.eight_bit import to_eight_bit
from vtok.eval.codes.codebook import CodebookStatistics, Counts
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.spec import TokenSpec

if TYPE_CHECKING:
    from vtok.tokenizers.base import Tokenizer

_DEAD_PART = 8  # of the codes shown, one in so many is dead where there are enough of both kinds


@dataclass(frozen=True)
class Code:
    """A code of a codebook.

    Args:
        id: its number.
        share: of the ids at the positions shown, 0 to 1.
        dead: it occurred at no position at all.
    """

    id: int
    share: float
    dead: bool


@dataclass(frozen=True, eq=False)
class LoneCodes:
    """Codes of one codebook, their pictures (h, w, 3) uint8, and as what they were decoded, in words."""

    codebook: int
    codes: Sequence[Code]
    pictures: Sequence[np.ndarray]
    described: str


def decode_each(
    tokenizer: Tokenizer, statistics: CodebookStatistics, num_codes: Sequence[int], batch: int, advance: Callable[[], None]
) -> list[LoneCodes]:
    """Decode the most used codes of each codebook alone, `batch` together.

    A code fills the shortest prefix that decodes, and all else is absent: the first position of a nested string, the first scale of a
    multi-scale one, all of a grid or of a string without prefixes. Sub-tokens of other codebooks are those most used there.

    Args:
        statistics: of strings of the tokenizer.
        num_codes: at most so many of each codebook, see `most_used`; further codebooks are left out.
        advance: is called after each code.
    """
    spec = tokenizer.spec
    positions = range(spec.prefix_lengths[0])
    device = next(chain(tokenizer.parameters(), tokenizer.buffers())).device
    favourites = torch.tensor([_favourite(statistics.counts(k, positions)) for k in range(len(spec.codebook_sizes))], device=device)
    found = []
    for k, num in enumerate(num_codes):
        codes, pictures = most_used(statistics, k, positions, num), []
        for first in range(0, len(codes), batch):
            own = torch.tensor([code.id for code in codes[first : first + batch]], device=device)
            ids = favourites.repeat(len(own), len(positions), 1)
            ids[..., k] = own[:, None]
            decoded = to_eight_bit(tokenizer.decode(Tokens.full(ids, spec))).permute(0, 2, 3, 1).contiguous().cpu().numpy()
            for picture in decoded:
                pictures.append(picture)
                advance()
        found.append(LoneCodes(k, codes, pictures, _described(spec, k, len(positions))))
    return found


def most_used(statistics: CodebookStatistics, codebook: int, positions: range, num_codes: int) -> list[Code]:
    """Codes of a codebook by falling use at the positions, then by falling use at all, then the dead by rising id.

    Args:
        num_codes: at most so many. Where not all have room, the dead, if there are enough, have an eighth of it.
    """
    size = statistics.codebook_sizes[codebook]
    used, here = statistics.counts(codebook), statistics.counts(codebook, positions)
    num_dead = size - len(used.ids)
    num_dead = min(num_dead, max(num_codes - len(used.ids), num_codes // _DEAD_PART))
    counts_here = torch.zeros_like(used.counts)
    counts_here[torch.searchsorted(used.ids, here.ids)] = here.counts
    order = np.lexsort((used.ids.numpy(), -used.counts.numpy(), -counts_here.numpy()))[: num_codes - num_dead].tolist()
    total = max(1, here.total)
    alive = [Code(int(used.ids[i]), int(counts_here[i]) / total, dead=False) for i in order]
    return alive + [Code(id_, 0.0, dead=True) for id_ in _missing(used, num_dead)]


def _favourite(counts: Counts) -> int:
    """The id that occurred most often; 0 when none did."""
    return int(counts.ids[counts.counts.argmax()]) if len(counts.ids) else 0


def _missing(counts: Counts, num: int) -> list[int]:
    """The first ids that did not occur."""
    before = counts.ids - torch.arange(len(counts.ids))  # ids that are missing below each
    missing = torch.arange(num)
    return (missing + torch.searchsorted(before, missing, right=True)).tolist()


def _described(spec: TokenSpec, codebook: int, num_positions: int) -> str:
    of = "codes" if len(spec.codebook_sizes) == 1 else f"codes of codebook {codebook + 1}, others at their most used,"
    if num_positions == 1:
        return f"{of} alone at position 1: number, share there"
    return f"{of} at {'all' if num_positions == spec.max_tokens else 'the first'} {num_positions} positions: number, share there"
