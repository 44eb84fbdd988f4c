"""Vector quantization whose codes move together (SimVQ, arXiv 2411.02038): a fixed random table times one learned matrix."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from vtok.models.quantizers.entropy import EntropyConfig
from vtok.models.quantizers.estimators import Estimator
from vtok.models.quantizers.vq import VectorQuantizer


class SimVectorQuantizer(VectorQuantizer):
    """One table. Codes are learned by `transform` alone, whose gradients come from all latents, so that no code is left behind.

    The product is computed anew at each call, which takes a small part of the time of the search: a kept one would have to follow every
    step and every file that is loaded.

    Args:
        dim, codebook_size, estimator, entropy: as `VectorQuantizer`.
        frozen_dim: width F of the fixed table; D when None.
    """

    codes: Tensor  # (1, S, F) float32, fixed

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        frozen_dim: int | None = None,
        estimator: Estimator = "straight_through",
        entropy: EntropyConfig | None = None,
    ):
        super().__init__(dim, codebook_size, estimator=estimator, entropy=entropy)
        frozen_dim = frozen_dim or dim
        del self.codes  # no parameter here
        self.register_buffer("codes", torch.randn(1, codebook_size, frozen_dim) * frozen_dim**-0.5)
        self.transform = nn.Linear(frozen_dim, dim, bias=False)

    @classmethod
    def tiny(cls) -> Self:
        """Sixteen codes of 8 components, made of 6; seeded."""
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return cls(8, 16, frozen_dim=6)

    def place_codes(self, codes: Tensor) -> Tensor:
        placed: Tensor = self.transform(codes)
        return placed

    def learned_tables(self) -> Sequence[VectorQuantizer]:
        return ()

    def coded(self, z: Tensor, ids: Tensor) -> Sequence[tuple[Tensor, Tensor]]:  # noqa: ARG002 - nothing learns from it
        return ()
