"""Factorized quantization (FQGAN, arXiv 2411.16681): independent codebooks, each for its own part of a latent's numbers."""

from collections.abc import Sequence
from itertools import combinations
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vtok.models.quantizers.base import Quantized, Quantizer
from vtok.models.quantizers.stacked import StackedQuantizer, joined_losses
from vtok.models.quantizers.vq import SphericalVectorQuantizer

DISENTANGLEMENT = 0.1  # weight of the loss, as published


class FactorizedQuantizer(StackedQuantizer):
    """The sub-tokens of a position are its branches; branch k codes the k-th slice of a latent.

    Losses are the sums of those of the branches, and "disentanglement", unweighted: the mean, over positions and pairs of branches, of the
    squared cosine between their vectors. It reaches the latents, not the codes of tables. Branches of different widths have no cosine, and
    a single one no pair: then there is no such loss.

    Args:
        branches: one quantizer for each slice, in order; the width of a slice is theirs.
    """

    def __init__(self, branches: Sequence[Quantizer]):
        super().__init__(branches, len(branches))
        self.widths = tuple(branch.dim for branch in branches)
        self.dim = sum(self.widths)
        self.disentangles = len(branches) > 1 and len(set(self.widths)) == 1

    @classmethod
    def tiny(cls) -> Self:
        """Two tables of 16 and 8 codes of 4 components, compared by their angles; seeded."""
        branches = [SphericalVectorQuantizer(4, 16), SphericalVectorQuantizer(4, 8)]
        generator = torch.Generator().manual_seed(0)
        for branch in branches:
            branch.fill(torch.randn(branch.codebook_sizes[0], 4, generator=generator))
        return cls(branches)

    @property
    def loss_weights(self) -> dict[str, float]:  # type: ignore[override]
        own = {"disentanglement": DISENTANGLEMENT} if self.disentangles else {}
        return {**super().loss_weights, **own}

    def first_positions(self, num_latents: int) -> Tensor:
        firsts = [branch.first_positions(num_latents).view(num_latents, -1) for branch in self.coders()]
        return torch.cat(firsts, 1).flatten()

    def slices(self, values: Tensor) -> Sequence[Tensor]:
        """Latents or vectors (..., D) to those of each branch."""
        return values.split(self.widths, -1)

    def forward(self, z: Tensor) -> Quantized:
        found = [branch(part) for branch, part in zip(self.coders(), self.slices(z), strict=True)]
        losses = joined_losses(self.coders(), [own.losses for own in found])
        if self.disentangles:
            own = disentanglement([branch.vectors for branch in found])
            losses["disentanglement"] = losses.get("disentanglement", 0) + own
        return Quantized(torch.cat([own.vectors for own in found], -1), torch.cat([own.ids for own in found], -1), losses)

    def lookup(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        return torch.cat([branch.lookup(own, lengths) for branch, own in zip(self.coders(), self.split(ids), strict=True)], -1)

    def coded(self, z: Tensor, ids: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        parts = zip(self.coders(), self.slices(z), self.split(ids), strict=True)
        return self.coded_by_part([branch.coded(part, own) for branch, part, own in parts])


def disentanglement(branches: Sequence[Tensor]) -> Tensor:
    """Mean squared cosine between the vectors (B, N, d) of two branches at the same position, over all pairs."""
    units = [normalize(vectors, dim=-1) for vectors in branches]
    return torch.stack([(one * other).sum(-1).square().mean() for one, other in combinations(units, 2)]).mean()
