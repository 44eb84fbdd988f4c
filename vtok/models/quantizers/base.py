"""The contract of every quantizer: latents to vectors and ids, and ids back to vectors."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from vtok.models.quantizers.vq import VectorQuantizer


@dataclass(frozen=True, eq=False)
class Quantized:
    """What a quantizer returns.

    Args:
        vectors: (B, N, D) float32 quantised latents, differentiable where the mechanism is.
        ids: (B, P, K) int64, P positions of K sub-tokens.
        losses: auxiliary losses by name, scalars, unweighted. Those that cost much are left out in eval mode.
    """

    vectors: Tensor
    ids: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)


class Quantizer(nn.Module, ABC):
    """Latents (B, N, D) to ids (B, P, K) and back, in float32 whatever the caller's dtype."""

    dim: int  # D
    codebook_sizes: tuple[int, ...]
    vectors_reach_codes: bool = False  # whether gradients of `forward`'s vectors reach the codes, not only those of the losses
    loss_weights: ClassVar[Mapping[str, float]] = {}  # of each loss that `forward` may return, as published

    def num_positions(self, num_latents: int) -> int:
        """Positions P of the string that `num_latents` latents become; more than `num_latents` when multi-scale."""
        return num_latents

    def prefix_lengths(self, num_latents: int) -> tuple[int, ...]:
        """Lengths that `lookup` takes: every one, or the ends of scales."""
        return tuple(range(1, self.num_positions(num_latents) + 1))

    def first_positions(self, num_latents: int) -> Tensor:
        """(N * D,) int64: the first position that says something of each number of the flattened vectors."""
        return torch.arange(num_latents).repeat_interleave(self.dim)

    def learned_tables(self) -> Sequence["VectorQuantizer"]:
        """The tables in it whose codes are learned from what they have coded, see `codebook_training`."""
        return ()

    def coded(self, z: Tensor, ids: Tensor) -> Sequence[tuple[Tensor, Tensor]]:  # noqa: ARG002 - there are no tables
        """What each of `learned_tables()` coded when z (B, N, D) became ids (B, P, K): its latents (B, n, d), their ids (B, n, 1)."""
        return ()

    @torch.no_grad()
    def take_use(self, ids: Tensor) -> None:
        """Take note, after a training step, of its ids (B, P, K), those of all processes; what is never used may be replaced."""

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
