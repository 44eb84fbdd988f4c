"""The contract of every quantizer: latents to vectors and ids, and ids back to vectors."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

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

    @abstractmethod
    def forward(self, z: Tensor) -> Quantized:
        """Quantise z (B, N, D)."""

    @abstractmethod
    def lookup(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Vectors (B, N, D) of the first `lengths` (B,) positions of ids (B, P, K); all positions when None."""
