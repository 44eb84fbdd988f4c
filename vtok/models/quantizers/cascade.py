"""Quantizers one behind another, each on a smaller map of what the one before has left (McQuic, arXiv 2203.10897)."""

from collections.abc import Mapping, Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.models.quantizers.base import Quantized, Quantizer
from vtok.models.quantizers.levels import LevelledQuantizer
from vtok.models.quantizers.maps import as_latents, as_map
from vtok.models.quantizers.multi_codebook import MultiCodebookQuantizer
from vtok.models.quantizers.stacked import joined_losses, joined_weights
from vtok.models.quantizers.vq import VectorQuantizer


class CascadedQuantizer(LevelledQuantizer):
    """Level k codes down_k of what is left of the level before; vectors are up_0(q_0 + up_1(q_1 + up_2(...))), deepest first.

    The first level comes first in a string and is the finest; levels that a string lacks add nothing. Losses are the sums of the levels'.

    Args:
        dim: width D of the latents.
        size: rows, columns of their map.
        quantizers: one a level, with the same codebook sizes.
        down: a module a level, from maps of the level before, (B, D, *size) at first, to maps of the width that its quantizer takes.
        up: the way back of each.

    Raises:
        ConfigError: numbers of modules that differ, or quantizers with other codebook sizes.
    """

    quantizers: nn.ModuleList

    def __init__(
        self, dim: int, size: tuple[int, int], quantizers: Sequence[Quantizer], down: Sequence[nn.Module], up: Sequence[nn.Module]
    ):
        if not len(quantizers) == len(down) == len(up):
            raise ConfigError(f"a level is a quantizer, a way down and a way up, got {len(quantizers)}, {len(down)} and {len(up)}")
        if len({quantizer.codebook_sizes for quantizer in quantizers}) > 1:
            raise ConfigError(f"levels have the same codebook sizes, got {[quantizer.codebook_sizes for quantizer in quantizers]}")
        super().__init__(_sizes(dim, size, down), size[0] * size[1])
        self.dim, self.size = dim, size
        self.codebook_sizes = quantizers[0].codebook_sizes
        self.vectors_reach_codes = True  # and the modules
        self.quantizers, self.down, self.up = nn.ModuleList(quantizers), nn.ModuleList(down), nn.ModuleList(up)

    @classmethod
    def tiny(cls) -> Self:
        """A 4 x 4 map of 8 components in levels of 4 x 4 and 2 x 2 positions, each of two groups of 16 codes; seeded."""
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            down = [nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 2, stride=2)]
            up = [nn.Conv2d(8, 8, 1), nn.ConvTranspose2d(8, 8, 2, stride=2)]
            return cls(8, (4, 4), [MultiCodebookQuantizer(8, 16, 2) for _ in range(2)], down, up)

    @property
    def loss_weights(self) -> Mapping[str, float]:  # type: ignore[override]
        return joined_weights(self._coders())

    def forward(self, z: Tensor) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            left, found = as_map(z.float(), self.size), []
            for down, quantizer in zip(self.down, self._coders(), strict=True):
                maps = down(left)
                found.append(quantizer(as_latents(maps)))
                left = maps - as_map(found[-1].vectors, maps.shape[2:]).detach()
            vectors = self._decoded([own.vectors for own in found])
        return Quantized(vectors, torch.cat([own.ids for own in found], 1), joined_losses(self._coders(), [own.losses for own in found]))

    def lookup(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        with torch.autocast(ids.device.type, enabled=False):
            vectors = [quantizer.lookup(own) for quantizer, own in zip(self._coders(), self.levels(ids), strict=False)]
            return self._decoded(vectors, lengths)

    def learned_tables(self) -> Sequence[VectorQuantizer]:
        return [table for quantizer in self._coders() for table in quantizer.learned_tables()]

    @torch.no_grad()
    def coded(self, z: Tensor, ids: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        left, found = as_map(z.float(), self.size), list[tuple[Tensor, Tensor]]()
        for down, quantizer, own in zip(self.down, self._coders(), self.levels(ids), strict=True):
            maps = down(left)
            found += quantizer.coded(as_latents(maps), own)
            left = maps - as_map(quantizer.lookup(own), maps.shape[2:])
        return found

    def take_use(self, ids: Tensor) -> None:
        for quantizer, own in zip(self._coders(), self.levels(ids), strict=True):
            quantizer.take_use(own)

    def _coders(self) -> Sequence[Quantizer]:
        return cast(Sequence[Quantizer], self.quantizers)

    def _decoded(self, vectors: Sequence[Tensor], lengths: Tensor | None = None) -> Tensor:
        """Vectors (B, N, D) from those of the first levels (B, n, d), of which those count that `lengths` (B,) reach."""
        deeper = torch.zeros(())
        for level in reversed(range(len(vectors))):
            deeper = self.up[level](as_map(vectors[level], self.sizes[level]) + deeper)
            if lengths is not None:
                deeper = deeper * (lengths >= self.ends[level])[:, None, None, None]
        return as_latents(deeper)


@torch.no_grad()
def _sizes(dim: int, size: tuple[int, int], down: Sequence[nn.Module]) -> list[tuple[int, int]]:
    """Rows, columns of each level's map."""
    maps, sizes = torch.zeros(1, dim, *size), []
    for module in down:
        maps = module(maps)
        sizes.append((maps.shape[2], maps.shape[3]))
    return sizes
