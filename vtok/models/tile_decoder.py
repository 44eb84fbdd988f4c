"""The decoder of `nested`: vectors as registers and mask tokens as patches to a map."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from vtok.models.length_embedding import LengthEmbedding
from vtok.models.tile_bands import bands, filled
from vtok.models.tile_patches import TileLayout
from vtok.models.tile_transformer import TileTransformer
from vtok.models.transformer import TransformerConfig


@dataclass(frozen=True, eq=False)
class TileGrid:
    """What the decoder reads of B * rows * cols tiles.

    Args:
        numbers: (B, rows, cols, num_inputs) float, the vectors of each tile.
        covered: (B, rows, cols, num_inputs) bool, which of them the tile's tokens speak of.
        lengths: (B, rows, cols) int64 tokens.
        draft: (B, C, rows * tile, cols * tile) map that the mask tokens are to correct; None where the decoder corrects none.
    """

    numbers: Tensor
    covered: Tensor
    lengths: Tensor
    draft: Tensor | None

    def band(self, rows: slice, tile: int) -> "TileGrid":
        """Some of its rows; `tile` is the side of a tile in cells of the map."""
        draft = None if self.draft is None else self.draft[:, :, rows.start * tile : rows.stop * tile]
        return TileGrid(self.numbers[:, rows], self.covered[:, rows], self.lengths[:, rows], draft)


class TileDecoder(nn.Module):
    """A grid of tiles to a map (B, C, rows * tile, cols * tile), added to the draft where there is one.

    Args:
        config: sizes of the transformer.
        layout: of the map's tiles.
        num_registers: latent tokens of a tile, each with its share of the numbers.
        num_inputs: numbers of a tile.
        max_tokens: of a string.
        corrects: there are drafts.
        hides_tail: registers that no token speaks of are not looked at.
        neighbours: patches see across the borders of tiles.
    """

    def __init__(
        self,
        config: TransformerConfig,
        layout: TileLayout,
        num_registers: int,
        num_inputs: int,
        *,
        max_tokens: int,
        corrects: bool,
        hides_tail: bool,
        neighbours: bool,
    ):
        super().__init__()
        self.layout, self.hides_tail = layout, hides_tail
        share = -(-num_inputs // num_registers)
        self.registers_in = nn.Parameter(torch.randn(num_registers, config.dim, share) * share**-0.5)
        self.draft_in = nn.Linear(layout.patch_dim, config.dim) if corrects else None
        self.place = nn.Parameter(torch.randn(num_registers + layout.num_patches, config.dim) * 0.02)
        self.length_in = LengthEmbedding(max_tokens, config.dim)
        self.transformer = TileTransformer(config, layout.side, neighbours)
        self.head = nn.Linear(config.dim, layout.patch_dim)

    def forward(self, grid: TileGrid) -> tuple[Tensor, dict[str, Tensor]]:
        """The map, and features: the first block's outputs.

        These are "registers" (B, rows, cols, 1, D), the mean of those that are not hidden, and "patches" (B, rows, cols, P, D). They are
        at hand in training mode, and wherever the grid is so small that it is not streamed.
        """
        num_registers = len(self.registers_in)
        parts = bands(*grid.lengths.shape[1:])
        mask = self._seen(grid.covered) if self.hides_tail else None
        if self.training or len(parts) == 1:
            x, first = self.transformer(self._tokens(grid), mask)
            maps = self._map(x)
            registers, patches = first.split([num_registers, self.layout.num_patches], 3)
            features = {"registers": _mean(registers, mask), "patches": patches}
        else:
            tokens = (self._tokens(grid.band(part, self.layout.tile)) for part in parts)
            rows, cols = (self.layout.tile * size for size in grid.lengths.shape[1:])
            shape = (len(grid.lengths), self.layout.channels, rows, cols)
            maps = filled((self._map(x) for x in self.transformer.stream(tokens, mask)), grid.numbers.new_empty(shape), 2)
            features = {}
        return (maps if grid.draft is None else grid.draft + maps), features

    def _tokens(self, grid: TileGrid) -> Tensor:
        registers = torch.einsum("brcnk,ndk->brcnd", self._shares(grid.numbers), self.registers_in)
        patches = registers.new_zeros(*registers.shape[:3], self.layout.num_patches, registers.shape[4])
        if self.draft_in is not None and grid.draft is not None:
            patches = self.draft_in(self.layout.cut(grid.draft))
        x = torch.cat([registers, patches], 3) + self.place
        return x + self.length_in(grid.lengths.flatten()).view(*grid.lengths.shape, 1, -1)

    def _map(self, x: Tensor) -> Tensor:
        return self.layout.stitch(self.head(x[..., len(self.registers_in) :, :]).float())

    def _shares(self, numbers: Tensor) -> Tensor:
        """(..., num_inputs) to (..., R, share), filled up with zeros."""
        num_registers, _, share = self.registers_in.shape
        return pad(numbers, (0, num_registers * share - numbers.shape[-1])).unflatten(-1, (num_registers, share))

    def _seen(self, covered: Tensor) -> Tensor:
        """(B, rows, cols, R + P) bool."""
        registers = self._shares(covered).any(-1)
        return torch.cat([registers, registers.new_ones(*registers.shape[:3], self.layout.num_patches)], 3)


def _mean(registers: Tensor, mask: Tensor | None) -> Tensor:
    """(B, rows, cols, 1, D) mean of the registers that may be looked at."""
    if mask is None:
        return registers.mean(3, keepdim=True)
    seen = mask[..., : registers.shape[3], None]
    return (registers * seen).sum(3, keepdim=True) / seen.sum(3, keepdim=True)
