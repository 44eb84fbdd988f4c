"""Ids of tokens as vectors of a network's width, with one codebook or several a position."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vtok.models.linear import Linear


class CodeEmbeddings(nn.Module):
    """A table for each codebook.

    Args:
        sizes: of the K codebooks.
        dim: D.
        joined: whether the sub-tokens of a position are one token of the network, made of all of them by a linear layer (FQGAN, arXiv
            2411.16681, section 3.4), or K tokens, one after another.
    """

    def __init__(self, sizes: Sequence[int], dim: int, *, joined: bool):
        super().__init__()
        self.joined = joined
        self.tables = nn.ModuleList(nn.Embedding(size, dim) for size in sizes)
        self.join = Linear(len(sizes) * dim, dim) if joined and len(sizes) > 1 else None

    def forward(self, ids: Tensor) -> Tensor:
        """Of strings (B, N, K): (B, N, D) joined, else (B, N * K, D)."""
        each = [self.of(codebook, ids[..., codebook]) for codebook in range(len(self.tables))]
        if not self.joined:
            return torch.stack(each, 2).flatten(1, 2)
        out: Tensor = each[0] if self.join is None else self.join(torch.cat(each, -1))
        return out

    def next(self, ids: Tensor, step: int) -> Tensor:
        """Of what was drawn from one token of the network, (R, K) joined, else (R, 1): the next token (R, 1, D).

        Args:
            step: the number of that token in the string.
        """
        return self(ids[:, None]) if self.joined else self.of(step % len(self.tables), ids)

    def of(self, codebook: int, ids: Tensor) -> Tensor:
        """Of sub-tokens (...) of one codebook: (..., D)."""
        out: Tensor = self.tables[codebook](ids)
        return out
