"""Pictures cut into tiles and put together."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vtok.tokenizers.tiles import cut_tiles, stitch_tiles

SMALL = st.integers(1, 4)


@st.composite
def grids(draw: st.DrawFn) -> tuple[int, int, tuple[int, int], int]:
    """Rows, columns, height and width of tiles, and by how much they overlap."""
    tile = draw(st.tuples(st.integers(2, 9), st.integers(2, 9)))
    return draw(SMALL), draw(SMALL), tile, draw(st.integers(1, min(tile) // 2))


def tiles_of(rows: int, cols: int, tile: tuple[int, int]) -> torch.Tensor:
    """Random tiles (2 * rows * cols, 3, h, w) of two pictures."""
    return torch.rand(2 * rows * cols, 3, *tile, generator=torch.Generator().manual_seed(0))


def ramp(place: int, side: int, index: int, count: int, overlap: int) -> float:
    """The weight of one line of a tile, as SPEC.md of the codec has it."""
    if place < overlap and index > 0:
        return (place + 0.5) / overlap
    if place >= side - overlap and index < count - 1:
        return (side - place - 0.5) / overlap
    return 1


def weights_of(rows: int, cols: int, tile: tuple[int, int], overlap: int) -> torch.Tensor:
    """(rows, cols, h, w) float64: the weight of each pixel of each tile, one at a time."""
    out = torch.empty(rows, cols, *tile, dtype=torch.float64)
    for row, col, y, x in torch.cartesian_prod(*map(torch.arange, out.shape)).reshape(-1, 4).tolist():
        out[row, col, y, x] = ramp(y, tile[0], row, rows, overlap) * ramp(x, tile[1], col, cols, overlap)
    return out


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


@given(grid=grids())
@settings(deadline=None)
def test_tiles_that_overlap_are_parts_of_the_picture(grid: tuple[int, int, tuple[int, int], int]) -> None:
    rows, cols, (height, width), overlap = grid
    images = torch.randn(2, 3, rows * (height - overlap) + overlap, cols * (width - overlap) + overlap)
    tiles = cut_tiles(images, (height, width), overlap).unflatten(0, (2, rows, cols))
    for row in range(rows):
        for col in range(cols):
            top, left = row * (height - overlap), col * (width - overlap)
            assert torch.equal(tiles[:, row, col], images[:, :, top : top + height, left : left + width])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@given(grid=grids())
@settings(deadline=None)
def test_tiles_that_overlap_put_together_are_the_picture_to_the_bit(
    dtype: torch.dtype, grid: tuple[int, int, tuple[int, int], int]
) -> None:
    rows, cols, (height, width), overlap = grid
    images = torch.rand(2, 3, rows * (height - overlap) + overlap, cols * (width - overlap) + overlap).to(dtype)
    assert torch.equal(stitch_tiles(cut_tiles(images, (height, width), overlap), rows, cols, overlap), images)


@given(grid=grids())
@settings(deadline=None, max_examples=30)
def test_tiles_are_blended_as_the_specification_says(grid: tuple[int, int, tuple[int, int], int]) -> None:
    rows, cols, tile, overlap = grid
    tiles = tiles_of(rows, cols, tile)
    weighted = tiles.unflatten(0, (2, rows, cols)) * weights_of(rows, cols, tile, overlap)[:, :, None]
    expected = torch.zeros(2, 3, *(count * (side - overlap) + overlap for count, side in zip((rows, cols), tile, strict=True)))
    for row in range(rows):
        for col in range(cols):
            top, left = row * (tile[0] - overlap), col * (tile[1] - overlap)
            expected[:, :, top : top + tile[0], left : left + tile[1]] += weighted[:, row, col]
    torch.testing.assert_close(stitch_tiles(tiles, rows, cols, overlap), expected, rtol=0, atol=1e-6)


@given(grid=grids())
@settings(deadline=None, max_examples=30)
def test_gradients_are_the_weights_and_none_is_zero(grid: tuple[int, int, tuple[int, int], int]) -> None:
    rows, cols, tile, overlap = grid
    tiles = tiles_of(rows, cols, tile).requires_grad_()
    stitched = stitch_tiles(tiles, rows, cols, overlap)
    stitched.sum().backward()
    assert tiles.grad is not None
    weights = weights_of(rows, cols, tile, overlap)
    torch.testing.assert_close(tiles.grad.unflatten(0, (2, rows, cols))[1, :, :, 2].double(), weights, rtol=0, atol=1e-6)
    assert float(tiles.grad.min()) > 0
    assert float(tiles.grad.double().sum()) == pytest.approx(stitched.numel(), rel=1e-6)  # the weights of a pixel add up to 1


def test_one_tile_fades_into_the_next_in_even_steps() -> None:
    tiles = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    expected = torch.tensor([0, 0, 0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1, 1, 1])
    assert torch.equal(stitch_tiles(tiles, 1, 2, overlap=4)[0, 0], expected.expand(8, 12))
    assert torch.equal(stitch_tiles(tiles, 2, 1, overlap=4)[0, 0], expected[:, None].expand(12, 8))


def test_tiles_given_are_left_as_they_are() -> None:
    tiles = tiles_of(2, 3, (8, 8))
    before = tiles.clone()
    stitch_tiles(tiles, 2, 3, overlap=4)
    assert torch.equal(tiles, before)


@pytest.mark.parametrize("overlap", [-1, 3])
def test_an_overlap_beyond_half_a_tile_is_refused(overlap: int) -> None:
    with pytest.raises(ValueError, match=f"overlap by 0 to [28], not by {overlap}"):
        cut_tiles(torch.zeros(1, 3, 16, 16), (5, 16), overlap)
    with pytest.raises(ValueError, match=f"overlap by 0 to [28], not by {overlap}"):
        stitch_tiles(torch.zeros(4, 3, 16, 5), 2, 2, overlap)


@pytest.mark.parametrize("size", [(13, 14), (14, 13), (2, 14), (8, 16)])
def test_a_picture_that_overlapping_tiles_do_not_fill_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{size[0]} x {size[1]} is not a whole number of 8 x 8 tiles that overlap by 2"):
        cut_tiles(torch.zeros(1, 3, *size), (8, 8), 2)
