"""One id for several codes (TokenFlow, arXiv 2412.03069): each part of a latent has a codebook of its own, all share the row."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vtok.errors import ConfigError
from vtok.models.quantizers.entropy import EntropyConfig, entropy_penalty
from vtok.models.quantizers.estimators import Estimator
from vtok.models.quantizers.vq import VectorQuantizer


class SharedIndexQuantizer(VectorQuantizer):
    """Each part of latents and codes has length 1; the row wins whose weighted squared distances add up to the least.

    A row of `codes` holds those of all parts side by side. Losses are as of the base, over all numbers of all parts.

    Args:
        widths: numbers of each part of a latent, in order: (32, 8) for 32 semantic numbers and 8 of pixels.
        codebook_size: rows S.
        weights: of each part's squared distance; 1 when None, as published.
        num_tables, estimator, entropy: as `VectorQuantizer`; the entropy is at the weighted distances.

    Raises:
        ConfigError: no parts, or other weights than one above 0 for each.
    """

    factors: Tensor  # (D,) roots of the weights

    def __init__(
        self,
        widths: Sequence[int],
        codebook_size: int,
        *,
        weights: Sequence[float] | None = None,
        num_tables: int = 1,
        estimator: Estimator = "straight_through",
        entropy: EntropyConfig | None = None,
    ):
        super().__init__(sum(widths), codebook_size, num_tables=num_tables, estimator=estimator, entropy=entropy)
        self.widths = tuple(widths)
        weights = (1.0,) * len(self.widths) if weights is None else tuple(weights)
        if not self.widths or len(weights) != len(self.widths) or min(weights) <= 0:
            raise ConfigError(f"takes a weight above 0 for each of the parts {self.widths}, got {weights}")
        with torch.device("cpu"):  # a model that is made without values, to be given those of a file, is not given these
            of_numbers = torch.tensor(weights).repeat_interleave(torch.tensor(self.widths))
        self.register_buffer("factors", of_numbers.sqrt(), persistent=False)

    @classmethod
    def tiny(cls) -> Self:
        """Rows of 5 and 3 components, 16 of them, the second part weighing twice; seeded."""
        quantizer = cls((5, 3), 16, weights=(1.0, 2.0))
        quantizer.fill(torch.randn(16, 8, generator=torch.Generator().manual_seed(0)))
        return quantizer

    def parts(self, values: Tensor) -> Sequence[Tensor]:
        """Latents, vectors or codes (..., D) to those of each part."""
        return values.split(self.widths, -1)

    def place(self, x: Tensor) -> Tensor:
        return torch.cat([normalize(part, dim=-1) for part in self.parts(x)], -1)

    def choose(self, points: Tensor, codes: Tensor) -> Tensor:
        return super().choose(points * self.factors, codes * self.factors)

    def _penalty(self, z: Tensor, config: EntropyConfig) -> Tensor:
        found = []
        for own, codes in zip(self.dealt(z), self.compared(), strict=True):
            weighted = codes * self.factors
            found.append(entropy_penalty(2 * own * self.factors, weighted, config, -weighted.square().sum(1)))
        return torch.stack(found).mean()
