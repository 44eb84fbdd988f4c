"""Multi-scale quantization whose scales stand for themselves (TokenFlow, arXiv 2412.03069)."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor

from vtok.models.quantizers.base import Quantized
from vtok.models.quantizers.maps import as_latents, as_map, resized
from vtok.models.quantizers.multiscale import MultiscaleQuantizer, mean_losses
from vtok.models.quantizers.vq import SphericalVectorQuantizer


class StagewiseMultiscaleQuantizer(MultiscaleQuantizer):
    """Each scale's own vectors are added, with the gradients that its table passes; losses are the table's, means over scales."""

    @classmethod
    def tiny(cls) -> Self:
        """A string of 4 latents of 8 components in scales of 1, 2 and 4, 16 codes compared by their angles; seeded."""
        table = SphericalVectorQuantizer(8, 16)
        table.fill(torch.randn(16, 8, generator=torch.Generator().manual_seed(0)))
        return cls(table, [(1, n) for n in (1, 2, 4)])

    @property
    def loss_weights(self) -> Mapping[str, float]:  # type: ignore[override]
        return self.table.loss_weights

    def added(self, quantized: Quantized) -> Tensor:
        return quantized.vectors

    def result(self, z: Tensor, sums: Sequence[Tensor], found: Sequence[Quantized]) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: ARG002
        return sums[-1], mean_losses(found)

    def generator_inputs(self, ids: Tensor) -> Tensor:
        """The sum so far, kept at the size of its scale and taken to that of the next (bicubic), step by step."""
        total = torch.zeros(len(ids), self.dim, *self.sizes[0], device=ids.device)
        inputs = [torch.zeros(len(ids), 0, self.dim, device=ids.device)]
        with torch.autocast(ids.device.type, enabled=False):
            for scale, own in enumerate(self.levels(ids)[: len(self.sizes) - 1]):
                total = resized(total + as_map(self.table.lookup(own), self.sizes[scale]), self.sizes[scale + 1])
                inputs.append(as_latents(total))
        return torch.cat(inputs, 1)
