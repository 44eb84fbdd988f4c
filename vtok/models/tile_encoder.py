"""The encoder of `nested`: patches of a map and the registers of each tile to what the registers say."""

import torch
from torch import Tensor, nn

from vtok.models.tile_bands import bands, filled
from vtok.models.tile_patches import TileLayout
from vtok.models.tile_transformer import TileTransformer
from vtok.models.transformer import TransformerConfig


class TileEncoder(nn.Module):
    """A map (B, C, rows * tile, cols * tile) to numbers (B, rows, cols, num_outputs) float32, each register giving its share.

    Args:
        config: sizes of the transformer.
        layout: of the map's tiles.
        num_registers: latent tokens of a tile.
        num_outputs: numbers of a tile.
        neighbours: patches see across the borders of tiles.
    """

    def __init__(self, config: TransformerConfig, layout: TileLayout, num_registers: int, num_outputs: int, *, neighbours: bool):
        super().__init__()
        self.layout, self.num_outputs = layout, num_outputs
        self.patch_in = nn.Linear(layout.patch_dim, config.dim)
        self.place = nn.Parameter(torch.randn(num_registers + layout.num_patches, config.dim) * 0.02)
        self.transformer = TileTransformer(config, layout.side, neighbours)
        share = -(-num_outputs // num_registers)
        self.head = nn.Parameter(torch.randn(num_registers, share, config.dim) * config.dim**-0.5)

    def forward(self, maps: Tensor) -> Tensor:
        tile = self.layout.tile
        parts = bands(maps.shape[2] // tile, maps.shape[3] // tile)
        if self.training or len(parts) == 1:
            return self._said(self.transformer(self._tokens(maps))[0])
        tokens = (self._tokens(maps[:, :, part.start * tile : part.stop * tile]) for part in parts)
        shape = (len(maps), maps.shape[2] // tile, maps.shape[3] // tile, self.num_outputs)
        return filled((self._said(x) for x in self.transformer.stream(tokens)), maps.new_empty(shape, dtype=torch.float32), 1)

    def _tokens(self, maps: Tensor) -> Tensor:
        patches = self.patch_in(self.layout.cut(maps))
        registers = patches.new_zeros(*patches.shape[:3], len(self.head), patches.shape[4])
        return torch.cat([registers, patches], 3) + self.place

    def _said(self, x: Tensor) -> Tensor:
        said = torch.einsum("brcnd,nkd->brcnk", x[..., : len(self.head), :], self.head)
        return said.float().flatten(3)[..., : self.num_outputs]
