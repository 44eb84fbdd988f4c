"""Residual quantization (arXiv 2107.03312, section III-C): each stage codes what the earlier ones have left of a latent."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from vtok.errors import ConfigError
from vtok.models.quantizers.base import Quantized, Quantizer
from vtok.models.quantizers.stacked import StackedQuantizer, joined_losses
from vtok.models.quantizers.vq import VectorQuantizer


class ResidualQuantizer(StackedQuantizer):
    """The sub-tokens of a position are its stages; vectors are the sums of those of the stages, of the first `depths` where given.

    Stages are chosen one after another, so that the ids of the first do not depend on how many follow. Losses are the sums of those of
    all stages, each in its own scale, whatever the depth: a stage learns from every latent. Every stage that counts passes gradients to
    the latents as its own mechanism does, so that latents get those of the vectors once for each.

    Args:
        stages: quantizers of one width, or one for all stages.
        num_stages: how many stages there are; as many as quantizers when None.
        scales: what each stage takes for 1: what is left is divided by it before, the stage's vectors are multiplied by it after; 1 when
            None. Quantizers with a size of their own, such as FSQ and those on a sphere, need it: 1, 1/L, 1/L**2, ... for FSQ of L levels.

    Raises:
        ConfigError: stages of different widths, or numbers of them that contradict each other.
    """

    def __init__(self, stages: Sequence[Quantizer], num_stages: int | None = None, *, scales: Sequence[float] | None = None):
        super().__init__(stages, len(stages) if num_stages is None else num_stages)
        self.scales = tuple(scales) if scales is not None else (1.0,) * self.num_coders
        if len({stage.dim for stage in stages}) > 1:
            raise ConfigError(f"stages code latents of one width, got {[stage.dim for stage in stages]}")
        if len(self.scales) != self.num_coders or min(self.scales) <= 0:
            raise ConfigError(f"takes {self.num_coders} scales above 0, got {self.scales}")
        self.dim = stages[0].dim

    @classmethod
    def tiny(cls) -> Self:
        """Three stages of 16 codes of 8 components, the later ones finer; seeded."""
        stages = [VectorQuantizer(8, 16) for _ in range(3)]
        generator = torch.Generator().manual_seed(0)
        for k, stage in enumerate(stages):
            stage.fill(torch.randn(16, 8, generator=generator) / 2**k)
        return cls(stages)

    def first_positions(self, num_latents: int) -> Tensor:
        return torch.stack([part.first_positions(num_latents) for part in self.coders()]).amin(0)

    def forward(self, z: Tensor, depths: Tensor | None = None) -> Quantized:
        """Quantise z (B, N, D); the vectors are of the first `depths` (B,) stages, the ids of all."""
        with torch.autocast(z.device.type, enabled=False):
            left = z.float()
            vectors = torch.zeros_like(left)
            found = []
            for k, (stage, scale) in enumerate(zip(self.coders(), self.scales, strict=True)):
                found.append(stage(left / scale))
                own = found[-1].vectors * scale
                left = left - own.detach()
                vectors = vectors + _counted(own, k, depths)
            losses = joined_losses(self.coders(), [own.losses for own in found])
        return Quantized(vectors, torch.cat([own.ids for own in found], -1), losses)

    def lookup(self, ids: Tensor, lengths: Tensor | None = None, depths: Tensor | None = None) -> Tensor:
        """Vectors (B, N, D) of the first `lengths` (B,) positions of ids (B, P, K) by their first `depths` (B,) stages; all when None."""
        stages = zip(self.coders(), self.split(ids), self.scales, strict=True)
        return torch.stack([_counted(stage.lookup(own, lengths) * scale, k, depths) for k, (stage, own, scale) in enumerate(stages)]).sum(0)

    @torch.no_grad()
    def coded(self, z: Tensor, ids: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        """What each of `learned_tables()` has coded; with one table for all stages its latents are those of all, (K B, n, d)."""
        left, found = z.float(), []
        for stage, own, scale in zip(self.coders(), self.split(ids), self.scales, strict=True):
            found.append(stage.coded(left / scale, own))
            left = left - stage.lookup(own) * scale
        return self.coded_by_part(found)


def _counted(vectors: Tensor, stage: int, depths: Tensor | None) -> Tensor:
    return vectors if depths is None else vectors * (depths > stage)[:, None, None]
