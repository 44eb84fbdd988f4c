"""Pictures cut into tiles and put together."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vtok.tokenizers.tiles import cut_tiles, stitch_tiles

SMALL = st.integers(1, 4)


@given(batch=SMALL, channels=SMALL, rows=SMALL, cols=SMALL, height=SMALL, width=SMALL)
@settings(deadline=None)
def test_tiles_put_together_are_the_picture(batch: int, channels: int, rows: int, cols: int, height: int, width: int) -> None:
    images = torch.arange(batch * channels * rows * cols * height * width).view(batch, channels, rows * height, cols * width)
    tiles = cut_tiles(images, (height, width))
    assert tiles.shape == (batch * rows * cols, channels, height, width)
    assert torch.equal(stitch_tiles(tiles, rows, cols), images)


@given(batch=SMALL, rows=SMALL, cols=SMALL, data=st.data())
@settings(deadline=None)
def test_tiles_are_numbered_row_by_row_and_picture_by_picture(batch: int, rows: int, cols: int, data: st.DataObject) -> None:
    images = torch.randn(batch, 3, rows * 2, cols * 5)
    picture, row, col = (data.draw(st.integers(0, n - 1)) for n in (batch, rows, cols))
    tile = cut_tiles(images, (2, 5))[(picture * rows + row) * cols + col]
    assert torch.equal(tile, images[picture, :, 2 * row : 2 * row + 2, 5 * col : 5 * col + 5])


@pytest.mark.parametrize("tile_size", [(3, 4), (4, 3), (16, 8)])
def test_a_picture_that_is_no_whole_number_of_tiles_is_refused(tile_size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"8 x 8 is not a whole number of {tile_size[0]} x {tile_size[1]} tiles"):
        cut_tiles(torch.zeros(1, 3, 8, 8), tile_size)


@pytest.mark.parametrize("count", [5, 7])
def test_a_number_of_tiles_that_fills_no_grid_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="2"):
        stitch_tiles(torch.zeros(count, 3, 8, 8), 2, 3)
