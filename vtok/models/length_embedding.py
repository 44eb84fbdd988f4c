"""Tells a decoder how many tokens a string has."""

import torch
from torch import Tensor, nn


class LengthEmbedding(nn.Module):
    """A vector (B, dim) for lengths (B,) of 1 to `max_tokens`, linear in log2 of the length between those of the powers of two."""

    def __init__(self, max_tokens: int, dim: int):
        super().__init__()
        self.octaves = nn.Parameter(torch.zeros((max_tokens - 1).bit_length() + 1, dim))

    def forward(self, lengths: Tensor) -> Tensor:
        place = lengths.float().log2()
        below = place.floor().long().clamp(max=len(self.octaves) - 1)
        above = (below + 1).clamp(max=len(self.octaves) - 1)
        return torch.lerp(self.octaves[below], self.octaves[above], (place - below)[:, None])
