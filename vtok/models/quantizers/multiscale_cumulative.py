"""Multi-scale quantization that is judged by its sums (VAR, arXiv 2404.02905)."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from vtok.models.quantizers.base import Quantized, Quantizer
from vtok.models.quantizers.estimators import straight_through
from vtok.models.quantizers.maps import as_map, averaged
from vtok.models.quantizers.multiscale import MultiscaleQuantizer, mean_losses
from vtok.models.quantizers.residual_convolutions import ResidualConvolutions
from vtok.models.quantizers.vq import VectorQuantizer


class CumulativeMultiscaleQuantizer(MultiscaleQuantizer):
    """The codes themselves are added, smoothed by convolutions; latents take the gradients of the vectors as if they were these.

    Losses, unweighted, with F_k the sum up to scale k, means over scales: "commitment" mean((z - sg F_k)^2) and "codebook"
    mean((sg z - F_k)^2), which reaches codes and convolutions. Of the table's own losses, others are taken as means over scales.

    Args:
        table, scales: as `MultiscaleQuantizer`.
        num_convolutions: from one for all scales to one for each; 0 for none.
        ratio: share of the convolved map in what is added.

    Raises:
        ConfigError: as there, or more convolutions than scales.
    """

    def __init__(self, table: Quantizer, scales: Sequence[tuple[int, int]], *, num_convolutions: int = 4, ratio: float = 0.5):
        super().__init__(table, scales)
        self.vectors_reach_codes = False  # latents alone take their gradients
        rows, cols = scales[-1]
        extent = (1 if rows == 1 else 3, 1 if cols == 1 else 3)
        counts = (self.dim, num_convolutions, len(scales))
        self.convolutions = ResidualConvolutions(*counts, ratio=ratio, extent=extent) if num_convolutions else None

    @classmethod
    def tiny(cls) -> Self:
        """A 4 x 4 map of 8 components in scales of 1, 2, 3 and 4 cells a side, 16 codes, 2 convolutions; seeded."""
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return cls(VectorQuantizer.tiny(), [(n, n) for n in (1, 2, 3, 4)], num_convolutions=2)

    @property
    def loss_weights(self) -> Mapping[str, float]:  # type: ignore[override]
        return {**self.table.loss_weights, "commitment": 0.25, "codebook": 1.0}

    def added(self, quantized: Quantized) -> Tensor:
        return self.table.lookup(quantized.ids)

    def refined(self, maps: Tensor, scale: int) -> Tensor:
        return maps if self.convolutions is None else self.convolutions(maps, scale)

    def result(self, z: Tensor, sums: Sequence[Tensor], found: Sequence[Quantized]) -> tuple[Tensor, dict[str, Tensor]]:
        losses = mean_losses(found)
        losses["commitment"] = torch.stack([mse_loss(z, own.detach()) for own in sums]).mean()
        losses["codebook"] = torch.stack([mse_loss(own, z.detach()) for own in sums]).mean()
        return straight_through(z, sums[-1]), losses

    def generator_inputs(self, ids: Tensor) -> Tensor:
        """The averages of the sum so far, at full size, in the cells of the next scale."""
        sums = zip(self.sizes[1:], self.sums(ids), strict=False)
        inputs = [averaged(as_map(own, self.sizes[-1]), size) for size, own in sums]
        return torch.cat([torch.zeros(len(ids), 0, self.dim, device=ids.device), *inputs], 1)
