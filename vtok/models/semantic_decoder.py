"""A transformer that tells what a network would say of each place of a picture, of the vectors that code it (TokenFlow, arXiv 2412.03069).

Queries and values have biases, keys have none, as in BEiT (arXiv 2106.08254).
"""

import math
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from vtok.models.conv import MAX_NUMBERS
from vtok.models.linear import linear
from vtok.models.positions import positions_of
from vtok.models.transformer import Block, Transformer, TransformerConfig, init_transformer

EPS = 1e-6  # of all norms


class SemanticDecoderConfig(TransformerConfig):
    """Sizes of a semantic decoder.

    Args:
        side: rows and columns of the learned positions; for maps of other sizes positions are found between them.
        out_dim: numbers that are told of a place.
    """

    dim: int = Field(768, ge=1, le=8192)
    depth: int = Field(3, ge=0, le=128)
    heads: int = Field(12, ge=1, le=128)
    side: int = Field(14, ge=1, le=1024)
    out_dim: int = Field(512, ge=1, le=8192)

    @model_validator(mode="after")
    def _a_size_is_some(self) -> Self:
        if (size := self.dim * (12 * self.depth * self.dim + self.side**2)) > MAX_NUMBERS:
            raise ValueError(f"the semantic decoder would have {size:,} numbers, at most {MAX_NUMBERS:,} are allowed")
        return self


class KeysWithoutBias(nn.Module):
    """Queries, keys and values by one matrix."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * dim, dim)))
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))

    @property
    def bias(self) -> Tensor:
        """Of all three, (3 * dim,)."""
        return torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class KeysWithoutBiasBlock(Block):
    """A block with those."""

    def __init__(self, dim: int, heads: int):
        super().__init__(dim, heads)
        self.qkv = KeysWithoutBias(dim)  # type: ignore[assignment]
        self.attention_norm.eps = self.mlp_norm.eps = EPS


class SemanticDecoder(nn.Module):
    """Vectors of a square map to features of its places.

    Args:
        config: sizes.
        latent_dim: numbers of a vector.
    """

    def __init__(self, config: SemanticDecoderConfig, latent_dim: int):
        super().__init__()
        dim = config.dim
        self.embed = nn.Linear(latent_dim, dim)
        self.class_token = nn.Parameter(torch.empty(1, dim))
        self.positions = nn.Parameter(torch.empty(1 + config.side**2, dim))  # the class token's first
        self.transformer = Transformer(config, KeysWithoutBiasBlock)
        self.norm_out = nn.LayerNorm(dim, eps=EPS)
        self.head = two_layers(dim, config.out_dim)
        init_transformer([self])
        for table in (self.class_token, self.positions):
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (B, N, latent_dim) of a square, row by row, to features (B, N, out_dim)."""
        x = torch.cat([self.class_token.expand(len(vectors), 1, -1), self.embed(vectors)], 1)
        x = self.transformer(x + positions_of(self.positions, math.isqrt(vectors.shape[1])), slice(1, None))
        out: Tensor = self.head(self.norm_out(x))
        return out


def two_layers(dim: int, out_dim: int) -> nn.Sequential:
    """(..., dim) to (..., out_dim), with tanh between the layers."""
    layers = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, out_dim))
    init_transformer([layers])
    return layers
