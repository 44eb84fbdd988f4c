"""Strings in which each position has a codebook of its own, as those of `linear` and `nested`: id 7 means another thing at each.

A table for each position would be too large to learn. So a code is known by a short vector that stays as it is, taken from the tokenizer,
and each position learns how to read such vectors and how to foretell them: codes that stand for alike things are treated alike.
"""

import torch
from torch import Tensor, nn

from vtok.models.causal_transformer import RmsNorm
from vtok.models.code_heads import Choose
from vtok.models.key_value_cache import KeyValueCache


class PlacedEmbeddings(nn.Module):
    """The vector of a code, turned to the network's width by its position's own layer.

    Args:
        num_tokens: N positions.
        num_codes: V of each.
        rank: r numbers of a code's vector.
        dim: D.
    """

    vectors: Tensor  # (N, V, r) float32, of mean 0 and standard deviation 1 over the codes of a position

    def __init__(self, num_tokens: int, num_codes: int, rank: int, dim: int):
        super().__init__()
        self.register_buffer("vectors", torch.randn(num_tokens, num_codes, rank))
        self.weight = nn.Parameter(torch.randn(num_tokens, rank, dim) * (0.5 / rank**0.5))
        self.bias = nn.Parameter(torch.randn(num_tokens, dim) * 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """Of strings (B, N, 1): (B, N, D)."""
        length = ids.shape[1]
        places = torch.arange(length, device=ids.device)
        found = self.vectors[places, ids[..., 0]]  # (B, N, r)
        out: Tensor = torch.einsum("bnr,nrd->bnd", found, self.weight[:length]) + self.bias[:length]
        return out

    def next(self, ids: Tensor, step: int) -> Tensor:
        """Of the codes (R, 1) of position `step`: (R, 1, D)."""
        out: Tensor = self.vectors[step, ids[:, 0]] @ self.weight[step] + self.bias[step]
        return out[:, None]


class PlacedHead(nn.Module):
    """How near a code's vector is to what its position expects, and how frequent it is there.

    Args: as of `PlacedEmbeddings`.
    """

    frequencies: Tensor  # (N, V) logits before anything is known; counted, since gradients of rare codes are mostly noise

    def __init__(self, num_tokens: int, num_codes: int, rank: int, dim: int):
        super().__init__()
        self.norm = RmsNorm(dim)
        self.weight = nn.Parameter(torch.zeros(num_tokens, dim, rank))
        self.register_buffer("frequencies", torch.zeros(num_tokens, num_codes))

    def forward(self, hidden: Tensor, ids: Tensor, embeddings: PlacedEmbeddings) -> list[Tensor]:  # noqa: ARG002
        """Logits (B, N, V) from (B, N, D)."""
        length = hidden.shape[1]
        expected = torch.einsum("bnd,ndr->nbr", self.norm(hidden), self.weight[:length])
        logits = torch.baddbmm(self.frequencies[:length, None], expected, embeddings.vectors[:length].mT)  # (N, B, V)
        return [logits.transpose(0, 1)]

    def draw(self, hidden: Tensor, step: int, embeddings: PlacedEmbeddings, choose: Choose, memory: KeyValueCache | None) -> Tensor:  # noqa: ARG002
        """The ids (R, 1) that (R, D) foretells for position `step`."""
        expected = self.norm(hidden) @ self.weight[step]
        return choose(0, torch.addmm(self.frequencies[step], expected, embeddings.vectors[step].mT))[:, None]

    def memory(self, rows: int) -> None:
        """None."""
