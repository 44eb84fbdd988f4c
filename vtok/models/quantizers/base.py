"""The contract of every quantizer: latents to vectors and ids, and ids back to vectors."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Quantized:
    """What a quantizer returns.

    Args:
        vectors: (B, N, D) float32 quantised latents, differentiable where the mechanism is.
        ids: (B, P, K) int64, P positions of K sub-tokens.
        losses: auxiliary losses by name, scalars.
    """

    vectors: Tensor
    ids: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)


class Quantizer(nn.Module, ABC):
    """Latents (B, N, D) to ids (B, P, K) and back, in float32 whatever the caller's dtype."""

    dim: int  # D
    codebook_sizes: tuple[int, ...]

    def num_positions(self, num_latents: int) -> int:
        """Positions P of the string that `num_latents` latents become; more than `num_latents` when multi-scale."""
        return num_latents

    def first_positions(self, num_latents: int) -> Tensor:
        """(N * D,) int64: the first position that says something of each number of the flattened vectors."""
        return torch.arange(num_latents).repeat_interleave(self.dim)

    @torch.no_grad()
    def search(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The ids of z (B, N, D), and the squared error of every prefix against all positions.

        Returns:
            ids (B, P, K) int64, and errors (B, 1 + P) float32, the first being the error of no position.
        """
        ids: Tensor = self(z).ids
        target = self.lookup(ids)
        nothing = target.square().sum((1, 2))
        prefixes = (self.lookup(ids, ids.new_full((len(ids),), n)) for n in range(1, ids.shape[1] + 1))
        return ids, torch.stack([nothing, *((target - vectors).square().sum((1, 2)) for vectors in prefixes)], 1)

    @abstractmethod
    def forward(self, z: Tensor) -> Quantized:
        """Quantise z (B, N, D)."""

    @abstractmethod
    def lookup(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Vectors (B, N, D) of the first `lengths` (B,) positions of ids (B, P, K); all positions when None."""
