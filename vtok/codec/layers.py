"""Token-major order: the first tokens of all tiles, then the second tokens of the tiles that have one, and so on."""

import numpy as np
import numpy.typing as npt

Lengths = npt.NDArray[np.int64]
Ids = npt.NDArray[np.int64]


def to_layers(ids: Ids, lengths: Lengths) -> Ids:
    """Ids (tiles, longest, K) to (tokens, K) in token-major order."""
    return ids.transpose(1, 0, 2)[_stored(lengths)]


def from_layers(tokens: Ids, lengths: Lengths) -> Ids:
    """The inverse of `to_layers`; ids beyond a length are 0.

    The array lies token-major in memory: where only few tiles are long, most of it is never touched.
    """
    ids = np.zeros((int(lengths.max()), len(lengths), tokens.shape[1]), np.int64)
    ids[_stored(lengths)] = tokens
    return ids.transpose(1, 0, 2)


def trim(ids: Ids, lengths: Lengths) -> Ids:
    """The ids that shorter lengths leave, 0 beyond them."""
    longest = int(lengths.max())
    kept = np.arange(longest) < lengths[:, None]  # (tiles, longest)
    return np.where(kept[:, :, None], ids[:, :longest], 0)


def too_uneven(lengths: Lengths, num_codebooks: int) -> bool:
    """Whether a table with a row for every tile is far larger than the ids in it: over 2**20 + 256 times as many.

    Never so for strings of at most 256 tokens.
    """
    cells = len(lengths) * int(lengths.max())
    return num_codebooks * cells > 2**20 + 256 * num_codebooks * int(lengths.sum())


def cut_lengths(lengths: Lengths, num_tokens: int) -> Lengths:
    """Lengths of what the first `num_tokens` tokens in token-major order hold; fewer than `lengths` say."""
    in_layer = len(lengths) - np.cumsum(np.bincount(lengths))  # (longest + 1,): tiles longer than 0, 1, 2, ...
    ends = np.cumsum(in_layer)
    whole_layers = int(np.searchsorted(ends, num_tokens, side="right"))
    rest = num_tokens - (int(ends[whole_layers - 1]) if whole_layers else 0)
    kept = np.minimum(lengths, whole_layers)
    kept[np.flatnonzero(lengths > whole_layers)[:rest]] += 1
    return kept


def _stored(lengths: Lengths) -> npt.NDArray[np.bool_]:
    return lengths > np.arange(int(lengths.max()))[:, None]  # (longest, tiles)
