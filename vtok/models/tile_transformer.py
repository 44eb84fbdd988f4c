"""A transformer over a grid of tiles: attention stays within a tile, a small convolution lets patches see across its borders.

Each tile has latent tokens (registers) and the patches of its square of the map. Attention costs the same for every tile, however large
the picture. A block's convolution sees one patch into the tiles around, of which attention has made a part of all its tile; so sight
grows by a tile with each block. A large map is streamed: its rows pass through the blocks from the top down, each block one row behind the
one before.
"""

from collections.abc import Iterable, Iterator
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vtok.models.recompute import run
from vtok.models.transformer import TransformerConfig


class TileBlock(nn.Module):
    """Attention over the tokens of a tile, a 3x3 depthwise convolution over patches, an MLP; each on normed input and added.

    Args:
        dim: width.
        heads: of the attention.
        side: patches along a side of a tile.
        neighbours: the convolution runs over the whole map; otherwise each tile is framed by zeros.
    """

    def __init__(self, dim: int, heads: int, side: int, neighbours: bool):
        super().__init__()
        self.heads, self.side, self.neighbours = heads, side, neighbours
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attention_out = nn.Linear(dim, dim)
        self.conv_norm = nn.LayerNorm(dim)
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Tokens (B, rows, cols, registers + side * side, D); `mask` (B, rows, cols, tokens) is False where none may look."""
        return self._within_rows(self._within_tiles(x, mask), slice(None))

    def stream(self, bands: Iterable[Tensor], mask: Tensor | None) -> Iterator[Tensor]:
        """Rows of a grid (B, some rows, cols, tokens, D) from the top down to the same rows in other bands, as `forward` on all of them.

        A row comes out when the one below it has come in, so little more than a band is held.
        """
        row, held = 0, None  # rows after attention: the last still to come out, and the one above it
        for band in bands:
            seen = None if mask is None else mask[:, row : row + band.shape[1]]
            row += band.shape[1]
            rows = self._within_tiles(band, seen)
            first = 0
            if held is not None:
                rows, first = torch.cat([held, rows], 1), held.shape[1] - 1
            held = rows[:, -2:].clone()
            if first < rows.shape[1] - 1:
                yield self._within_rows(rows, slice(first, -1))
        if held is not None:
            yield self._within_rows(held, slice(-1, None))

    def _within_tiles(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return x + self._attend(self.attention_norm(x), mask)

    def _within_rows(self, x: Tensor, kept: slice) -> Tensor:
        """The rest of the block for some of the rows, which the others lie around."""
        num_patches = self.side**2
        patches = x[..., -num_patches:, :]
        convolved = self._convolve(self.conv_norm(patches))[:, kept]
        x = torch.cat([x[:, kept, :, :-num_patches], patches[:, kept] + convolved], 3)
        return x + self.mlp(self.mlp_norm(x))

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b rows cols n (qkv heads d) -> qkv (b rows cols) heads n d", qkv=3, heads=self.heads)
        seen = None if mask is None else rearrange(mask, "b rows cols n -> (b rows cols) 1 1 n")
        out = scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.attention_out(rearrange(out, "t heads n d -> t n (heads d)").view(x.shape))

    def _convolve(self, patches: Tensor) -> Tensor:
        rows, cols = patches.shape[1:3]
        if self.neighbours:
            cells = rearrange(patches, "b rows cols (y x) d -> b (rows y) (cols x) d", y=self.side)
            out = self.conv(cells.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            return rearrange(out, "b (rows y) (cols x) d -> b rows cols (y x) d", y=self.side, x=self.side)
        cells = rearrange(patches, "b rows cols (y x) d -> (b rows cols) y x d", y=self.side)
        out = self.conv(cells.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return rearrange(out, "(b rows cols) y x d -> b rows cols (y x) d", rows=rows, cols=cols)


class TileTransformer(nn.Module):
    """Blocks and a last norm.

    Args:
        side, neighbours: as those of `TileBlock`.
    """

    def __init__(self, config: TransformerConfig, side: int, neighbours: bool):
        super().__init__()
        self.blocks = nn.ModuleList(TileBlock(config.dim, config.heads, side, neighbours) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim)
        self.checkpointing = False

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens (B, rows, cols, N, D) to the normed output, and the output of the first block."""
        first = x
        for number, block in enumerate(self.blocks):
            x = run(block, x, mask, again=self.checkpointing)
            if not number:
                first = x
        return self.norm(x), first

    def stream(self, bands: Iterable[Tensor], mask: Tensor | None = None) -> Iterator[Tensor]:
        """The normed output of a large grid, given and returned in bands of rows from the top down; `mask` is of the whole grid."""
        for block in self.blocks:
            bands = cast(TileBlock, block).stream(bands, mask)
        return map(self.norm, bands)
