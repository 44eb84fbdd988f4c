"""One vector in many small tables: each position codes its own few components, later positions may refine earlier ones."""

from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor

from vtok.errors import WeightsError
from vtok.models.int8 import from_int8, to_int8
from vtok.models.quantizers.base import Quantized, Quantizer
from vtok.models.quantizers.nearest import assign


class GroupedQuantizer(Quantizer):
    """A string of positions over the components of one vector (N = 1 latent).

    Position k adds row `ids[k]` of its own table to its own components. A component may belong to several positions: the later one codes
    what the earlier ones left. Where no component returns, the greedy search is the exact one.

    Args:
        dim: components D of the vector.
        widths: number of components that each position codes.
        codebook_size: rows of each table.
    """

    components: Tensor  # (sum of widths,) int16: which components each position codes, position by position
    tables: Tensor  # (codebook_size * sum of widths,) int8: the tables, each (codebook_size, width), one after another
    scales: Tensor  # (sum of widths,) float32: what one step of each column of the tables is worth

    def __init__(self, dim: int, widths: Sequence[int], codebook_size: int):
        super().__init__()
        self.dim = dim
        self.widths = tuple(widths)
        self.codebook_sizes = (codebook_size,)
        self.register_buffer("components", torch.zeros(sum(widths), dtype=torch.int16))
        self.register_buffer("tables", torch.zeros(codebook_size * sum(widths), dtype=torch.int8))
        self.register_buffer("scales", torch.ones(sum(widths)))

    @classmethod
    def tiny(cls) -> Self:
        """Six positions of 16 codes over 8 components, two of which are coded twice; seeded."""
        generator = torch.Generator().manual_seed(0)
        quantizer = cls(8, (1, 1, 2, 4, 1, 1), 16)
        quantizer.components.copy_(torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 0, 1]))
        quantizer.fill([torch.randn(16, width, generator=generator) for width in quantizer.widths])
        return quantizer

    def fill(self, tables: Sequence[Tensor]) -> None:
        """Take the tables, each (codebook_size, width) float, rounded to bytes."""
        rounded = [to_int8(table, 0) for table in tables]
        self.tables = torch.cat([codes.flatten() for codes, _ in rounded])
        self.scales = torch.cat([scale.flatten() for _, scale in rounded])

    def check_components(self) -> None:
        """Look at components that come from a file.

        Raises:
            WeightsError: components that the vector does not have.
        """
        if int(self.components.min()) < 0 or int(self.components.max()) >= self.dim:
            raise WeightsError(f"damaged weights: components must be 0 to {self.dim - 1}")

    def num_positions(self, num_latents: int) -> int:
        if num_latents != 1:
            raise ValueError(f"codes one vector a string, got {num_latents}")
        return len(self.widths)

    def first_positions(self, num_latents: int) -> Tensor:
        self.num_positions(num_latents)
        positions = torch.arange(len(self.widths), device=self.components.device).repeat_interleave(torch.tensor(self.widths))
        nowhere = torch.full((self.dim,), len(self.widths), device=self.components.device)
        return nowhere.scatter_reduce_(0, self.components.long(), positions, "amin")

    def forward(self, z: Tensor) -> Quantized:
        with torch.autocast(z.device.type, enabled=False), torch.no_grad():
            z = z.float()
            ids, _ = self.search(z)
            vectors = self.lookup(ids)
        return Quantized(z + (vectors - z).detach(), ids)

    @torch.no_grad()
    def search(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The ids of z (B, 1, D), and the squared error of every prefix.

        Returns:
            ids (B, P, 1) int64, and errors (B, 1 + P) float32, the first being the error of no position.
        """
        left = z[:, 0].float().clone()  # (B, D) what is not coded yet
        ids = torch.empty((len(left), len(self.widths)), dtype=torch.int64, device=z.device)
        errors = torch.empty((len(left), 1 + len(self.widths)), device=z.device)
        errors[:, 0] = left.square().sum(1)
        for k, (components, table) in enumerate(self.positions()):
            x = left[:, components]  # (B, width)
            ids[:, k] = assign(x, table)
            rest = x - table[ids[:, k]]
            errors[:, k + 1] = errors[:, k] - x.square().sum(1) + rest.square().sum(1)
            left[:, components] = rest
        return ids[..., None], errors.clamp_(min=0)  # differences of sums round to just below

    def lookup(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        vectors = torch.zeros(len(ids), self.dim, device=ids.device)
        for k, (components, table) in zip(range(ids.shape[1]), self.positions(), strict=False):
            rows = table[ids[:, k, 0]]  # (B, width)
            if lengths is not None:
                rows = rows * (lengths > k)[:, None]
            vectors.index_add_(1, components, rows)
        return vectors[:, None]

    def positions(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Components (width,) and table (codebook_size, width) float32 of each position."""
        size = self.codebook_sizes[0]
        components = self.components.long().split(self.widths)
        tables = self.tables.split([size * width for width in self.widths])
        scales = self.scales.split(self.widths)
        for index, table, scale in zip(components, tables, scales, strict=True):
            yield index, from_int8(table.view(size, -1), scale)
