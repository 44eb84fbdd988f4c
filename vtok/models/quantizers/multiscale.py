"""Multi-scale residual quantization: a map as maps of rising size, each coding what the earlier ones have left of it."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vtok.errors import ConfigError
from vtok.models.quantizers.base import Quantized, Quantizer
from vtok.models.quantizers.levels import LevelledQuantizer
from vtok.models.quantizers.maps import as_latents, as_map, averaged, resized
from vtok.models.quantizers.vq import VectorQuantizer

SKIPPED = -1  # the ids of a scale that was left out in training


class MultiscaleQuantizer(LevelledQuantizer):
    """The loop: what is left is averaged to the size of a scale, coded cell by cell, taken back to full size (bicubic) and subtracted.

    Args:
        table: codes the cells of all scales, so it has no tables of its own for positions.
        scales: rows, columns of each scale, first to last, (1, n) in one dimension; the last is the map that is coded.

    Raises:
        ConfigError: scales that make no string, or a table that does not take their numbers of latents.
    """

    def __init__(self, table: Quantizer, scales: Sequence[tuple[int, int]]):
        super().__init__(scales, scales[-1][0] * scales[-1][1] if scales else 0)
        if not all(_takes(table, count) for count in self.counts):
            raise ConfigError("scales of a multi-scale string share a quantizer that takes any number of latents, each for itself")
        self.table = table
        self.dim = table.dim
        self.codebook_sizes = table.codebook_sizes
        self.vectors_reach_codes = table.vectors_reach_codes

    def take_use(self, ids: Tensor) -> None:
        self.table.take_use(ids)

    def draw_skipped(self, chance: float, generator: torch.Generator) -> int | None:
        """A scale for `forward` to leave out, with this chance: any but the first, each as often (TokenFlow)."""
        happens, which = torch.rand(2, generator=generator).tolist()
        later = len(self.sizes) - 1
        return 1 + int(which * later) if happens < chance and later else None

    def forward(self, z: Tensor, skipped: int | None = None) -> Quantized:
        """Quantise z (B, N, D).

        Args:
            skipped: index of a scale to leave out, in training. Its ids are SKIPPED, which stands for nothing in this class's methods.
        """
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            target = as_map(z, self.sizes[-1])
            total, found, ids, sums = torch.zeros_like(target), list[Quantized](), list[Tensor](), list[Tensor]()
            for scale, count in enumerate(self.counts):
                if scale == skipped:
                    ids.append(torch.full((len(z), count, len(self.codebook_sizes)), SKIPPED, device=z.device))
                    continue
                quantized = self.table(averaged(target - total.detach(), self.sizes[scale]))
                total = total + self._grown(self.added(quantized), scale)
                found.append(quantized)
                ids.append(quantized.ids)
                sums.append(as_latents(total))
            vectors, losses = self.result(z, sums, found)
        return Quantized(vectors, torch.cat(ids, 1), losses)

    @abstractmethod
    def added(self, quantized: Quantized) -> Tensor:
        """What is added for the cells (B, n, D) of a scale, with the gradients that it is to pass."""

    @abstractmethod
    def result(self, z: Tensor, sums: Sequence[Tensor], found: Sequence[Quantized]) -> tuple[Tensor, dict[str, Tensor]]:
        """Vectors (B, N, D) and losses, from what is added up to each scale (B, N, D) and what the table made of each."""

    @abstractmethod
    def generator_inputs(self, ids: Tensor) -> Tensor:
        """What a generator of whole scales begins each scale after the first with: the codes so far, one vector for each cell.

        Args:
            ids: (B, P, K) of the first scales, or of all.

        Returns:
            (B, n, D) float32, n the cells of the second scale to the one after those given; the codes of the last scale are no input.
        """

    def refined(self, maps: Tensor, scale: int) -> Tensor:  # noqa: ARG002 - nothing, unless a kind says so
        """What is done to the map (B, D, H, W) of a scale at full size before it is added."""
        return maps

    def lookup(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        total = torch.zeros(len(ids), self.dim, *self.sizes[-1], device=ids.device)
        for end, own in zip(self.ends, self._maps(ids), strict=False):
            total = total + (own if lengths is None else own * (lengths >= end)[:, None, None, None])
        return as_latents(total)

    def sums(self, ids: Tensor) -> Iterator[Tensor]:
        """The vectors (B, N, D) of the first scale, of the first two, ... of those that ids (B, P, K) hold."""
        total: Tensor | float = 0.0
        for own in self._maps(ids):
            total = total + own
            yield as_latents(total)

    @torch.no_grad()
    def search(self, z: Tensor) -> tuple[Tensor, Tensor]:
        ids: Tensor = self(z).ids
        sums = list(self.sums(ids))
        left = [sums[-1], *(sums[-1] - own for own in sums)]
        return ids, self.errors_of_lengths(torch.stack([own.square().sum((1, 2)) for own in left], 1))

    def learned_tables(self) -> Sequence[VectorQuantizer]:
        return self.table.learned_tables()

    @torch.no_grad()
    def coded(self, z: Tensor, ids: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        """What each of `learned_tables()` has coded in all scales that were not left out, as one string, (1, n, d)."""
        left, found = as_map(z.float(), self.sizes[-1]), []
        for scale, (own, added) in enumerate(zip(self.levels(ids), self._maps(ids), strict=True)):
            kept = own[:, 0, 0] != SKIPPED
            pairs = self.table.coded(averaged(left, self.sizes[scale])[kept], own[kept])
            found.append([(latents.flatten(0, 1), rows.flatten(0, 1)) for latents, rows in pairs])
            left = left - added
        by_table = (zip(*pairs, strict=True) for pairs in zip(*found, strict=True))
        return [(torch.cat(latents)[None], torch.cat(rows)[None]) for latents, rows in by_table]

    def _maps(self, ids: Tensor) -> Iterator[Tensor]:
        """What each scale of ids adds, (B, D, H, W); 0 where it was left out."""
        for scale, own in enumerate(self.levels(ids)):
            kept = (own[:, 0, 0] != SKIPPED)[:, None, None, None]
            with torch.autocast(ids.device.type, enabled=False):
                added = self._grown(self.table.lookup(own.clamp(min=0)), scale) * kept
            yield added

    def _grown(self, cells: Tensor, scale: int) -> Tensor:
        """Cells (B, n, D) of a scale as it adds them, (B, D, H, W)."""
        return self.refined(resized(as_map(cells, self.sizes[scale]), self.sizes[-1]), scale)


def _takes(table: Quantizer, count: int) -> bool:
    """Whether `table` makes one position of each of so many latents."""
    try:
        return table.num_positions(count) == count
    except ValueError:
        return False


def mean_losses(found: Sequence[Quantized]) -> dict[str, Tensor]:
    """Losses by name, means over scales."""
    return {name: torch.stack([own.losses[name] for own in found]).mean() for name in found[0].losses}
