"""Softmax choices of many rows among many codes, a block of rows at a time: all probabilities never stand in memory.

In buffers made once: blocks that come and go would leave the process as large as all of them together. So gradients are written out, and
a backward pass computes the probabilities again.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

NUMBERS_AT_ONCE = 2**22  # of a block of probabilities, 16 MB; there are two such blocks


def probability_blocks(rows: Tensor, codes: Tensor, offsets: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Softmax of rows (N, D) @ codes (K, D).T + offsets (K,).

    Yields:
        which rows, their probabilities (n, K) and the logarithms of these, both of which the next block overwrites.
    """
    at_once = max(1, NUMBERS_AT_ONCE // len(codes))
    first, second = rows.new_empty(2, min(at_once, len(rows)), len(codes))
    for start in range(0, len(rows), at_once):
        part = slice(start, min(start + at_once, len(rows)))
        count = part.stop - part.start
        logarithms = torch.addmm(offsets, rows[part], codes.T, out=first[:count])
        logarithms -= logarithms.amax(1, keepdim=True)
        probabilities = torch.exp(logarithms, out=second[:count])
        total = probabilities.sum(1, keepdim=True)
        probabilities /= total
        logarithms -= total.log()
        yield part, probabilities, logarithms


def through_softmax(to_probabilities: Tensor, probabilities: Tensor) -> Tensor:
    """Gradients of probabilities (n, K) to those of their logits, in place."""
    to_probabilities -= torch.linalg.vecdot(to_probabilities, probabilities)[:, None]
    to_probabilities *= probabilities
    return to_probabilities
