"""Vector quantization (arXiv 1711.00937): the nearest row of a learned table stands for a latent."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, mse_loss, normalize

from vtok.models.quantizers.base import Quantized, Quantizer
from vtok.models.quantizers.entropy import EntropyConfig, entropy_penalty
from vtok.models.quantizers.estimators import ESTIMATORS, Estimator
from vtok.models.quantizers.nearest import assign


class VectorQuantizer(Quantizer):
    """One id a latent, of one table for all positions or of a table for each.

    Losses, unweighted: "commitment" mean((z - sg e)^2); while codes take gradients, "codebook" mean((sg z - e)^2); in training mode, where
    asked for, "entropy" at squared distances, the mean over tables. Freeze the codes (`codes.requires_grad_(False)`) where running means
    learn them (`CodebookEma`).

    Args:
        dim: width D of a latent.
        codebook_size: codes S of a table.
        num_tables: T, either 1 or the number of positions.
        estimator: what gradients latents take from the vectors.
        entropy: of the loss "entropy"; None: no such loss.
    """

    loss_weights: ClassVar = {"commitment": 0.25, "codebook": 1.0, "entropy": 0.03}
    codes: Tensor  # (T, S, D) float32, a parameter

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        num_tables: int = 1,
        estimator: Estimator = "straight_through",
        entropy: EntropyConfig | None = None,
    ):
        super().__init__()
        self.dim = dim
        self.codebook_sizes = (codebook_size,)
        self.num_tables = num_tables
        self.estimator = estimator
        self.entropy = entropy
        self.codes = nn.Parameter(torch.randn(num_tables, codebook_size, dim) * dim**-0.5)

    @classmethod
    def tiny(cls) -> Self:
        """One table of 16 codes of 8 components; seeded."""
        quantizer = cls(8, 16)
        quantizer.fill(torch.randn(16, 8, generator=torch.Generator().manual_seed(0)))
        return quantizer

    @torch.no_grad()
    def fill(self, codes: Tensor) -> None:
        """Take the codes, (T, S, D), or (S, D) for all tables; found by k-means over latents, say."""
        self.codes.copy_(codes)

    def place(self, x: Tensor) -> Tensor:
        """Where latents and codes (..., D) are compared."""
        return x

    def place_codes(self, codes: Tensor) -> Tensor:
        """Rows (..., D) of `codes`, or sums of them, as they are compared and looked up."""
        return self.place(codes)

    def compared(self) -> Tensor:
        """All codes as they are compared and looked up, (T, S, D) float32."""
        return self.place_codes(self.codes.float())

    def choose(self, points: Tensor, codes: Tensor) -> Tensor:
        """Index (n,) of the one of codes (S, D) that each of points (n, D) takes, all of them in their place."""
        return assign(points, codes)

    def num_positions(self, num_latents: int) -> int:
        if self.num_tables not in (1, num_latents):
            raise ValueError(f"has tables for {self.num_tables} latents, got {num_latents}")
        return num_latents

    def forward(self, z: Tensor) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            z = self.place(z.float())
            ids = self._chosen(z)[..., None]  # (B, N, 1)
            vectors = self.lookup(ids)
            losses = {"commitment": mse_loss(z, vectors.detach())}
            if any(parameter.requires_grad for parameter in self.parameters()):
                losses["codebook"] = mse_loss(vectors, z.detach())
            if self.entropy is not None and self.training:
                losses["entropy"] = self._penalty(z, self.entropy)
            return Quantized(ESTIMATORS[self.estimator](z, vectors), ids, losses)

    def lookup(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        num_positions = ids.shape[1]
        rows = ids[..., 0]  # (B, N)
        if self.num_tables > 1:
            rows = rows + self.codebook_sizes[0] * torch.arange(num_positions, device=ids.device)
        with torch.autocast(ids.device.type, enabled=False):
            vectors = self.place_codes(embedding(rows, self.codes.flatten(0, 1)).float())
        if lengths is not None:
            vectors = vectors * (torch.arange(num_positions, device=ids.device) < lengths[:, None])[..., None]
        return vectors

    def mix(self, weights: Tensor) -> Tensor:
        """Vectors (..., D) float32 of soft choices: sums of all codes of the one table, times weights (..., S) such as softmax gives.

        Raises:
            ValueError: positions have tables of their own.
        """
        if self.num_tables > 1:
            raise ValueError(f"soft choices are among the codes of one table, there are {self.num_tables}")
        with torch.autocast(weights.device.type, enabled=False):
            return self.place_codes(weights.float() @ self.codes[0].float())

    def learned_tables(self) -> Sequence["VectorQuantizer"]:
        return (self,)

    def coded(self, z: Tensor, ids: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        return ((z, ids),)

    def by_table(self, latents: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """What each table has coded: points (T, n, D) float32 in their place, and the rows (T, n) they took.

        Args:
            latents: (B, N, D).
            ids: (B, N, 1).
        """
        return self.place(self.dealt(latents.detach().float())), self.dealt(ids[..., 0])

    def dealt(self, values: Tensor) -> Tensor:
        """Values (B, N, ...) of positions to (T, n, ...), those of each table together."""
        return values.flatten(0, 1)[None] if self.num_tables == 1 else values.transpose(0, 1)

    def in_one_table(self, rows: Tensor) -> Tensor:
        """Rows (T, n) of each table to rows (T * n,) of all tables one after another."""
        return (rows + self.codebook_sizes[0] * torch.arange(len(rows), device=rows.device)[:, None]).flatten()

    @torch.no_grad()
    def _chosen(self, z: Tensor) -> Tensor:
        """Rows (B, N) for z (B, N, D) in its place."""
        self.num_positions(z.shape[1])
        rows = [self.choose(own, codes) for own, codes in zip(self.dealt(z), self.compared(), strict=True)]
        return torch.stack(rows, 1).view(z.shape[:2])

    def _penalty(self, z: Tensor, config: EntropyConfig) -> Tensor:
        """The loss "entropy" of z (B, N, D) in its place."""
        tables = zip(self.dealt(z), self.compared(), strict=True)
        return torch.stack([entropy_penalty(2 * own, codes, config, -codes.square().sum(1)) for own, codes in tables]).mean()


class SphericalVectorQuantizer(VectorQuantizer):
    """Latents and codes of length 1, so that the largest cosine wins (arXiv 2110.04627, section 3.2)."""

    @classmethod
    def tiny(cls) -> Self:
        """Tables for 4 positions, each of 16 codes of 8 components; seeded."""
        quantizer = cls(8, 16, num_tables=4)
        quantizer.fill(torch.randn(4, 16, 8, generator=torch.Generator().manual_seed(0)))
        return quantizer

    def place(self, x: Tensor) -> Tensor:
        return normalize(x, dim=-1)
