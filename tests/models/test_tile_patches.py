"""Tiles of a map as patches."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vtok.models.tile_patches import TileLayout

small = st.integers(1, 3)


@given(channels=small, side=small, patch_size=small, rows=small, cols=small)
@settings(deadline=None, max_examples=50)
def test_stitching_is_the_inverse_of_cutting(channels: int, side: int, patch_size: int, rows: int, cols: int) -> None:
    layout = TileLayout(channels, side, patch_size)
    maps = torch.rand(2, channels, rows * layout.tile, cols * layout.tile)
    patches = layout.cut(maps)
    assert patches.shape == (2, rows, cols, layout.num_patches, layout.patch_dim)
    assert torch.equal(layout.stitch(patches), maps)


def test_patches_stand_row_by_row_in_their_tile() -> None:
    layout = TileLayout(2, side=3, patch_size=4)
    maps = torch.rand(1, 2, 2 * 12, 3 * 12)
    patches = layout.cut(maps)
    tile = maps[0, :, 12:24, 24:36]
    assert torch.equal(patches[0, 1, 2, 5], tile[:, 4:8, 8:12].flatten())
