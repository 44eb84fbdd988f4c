"""Crops and resizing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtok.data import center_crop, random_scale_crop, resize
from vtok.data.crops import center_square, center_tile


def numbered(height: int, width: int) -> np.ndarray:
    """Red counts rows, green columns."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y, x, np.zeros_like(y)], -1).astype(np.uint8)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_resize_gives_the_size_asked_for_and_keeps_a_plain_colour(height, width, to_height, to_width):
    pixels = np.full((height, width, 3), (10, 200, 77), np.uint8)
    assert np.array_equal(resize(pixels, to_height, to_width), np.full((to_height, to_width, 3), (10, 200, 77), np.uint8))


def test_resize_to_the_same_size_changes_nothing():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    assert np.array_equal(resize(pixels, 9, 7), pixels)


def test_resize_averages_what_it_cannot_show():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize(stripes, 16, 16).astype(int) - 127.5).max() < 12


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_the_center_crop_is_in_the_middle_or_refused(height, width, size):
    if size > min(height, width):
        with pytest.raises(ValueError, match="does not fit"):
            center_crop(numbered(height, width), size)
        return
    crop = center_crop(numbered(height, width), size)
    assert crop.shape == (size, size, 3)
    assert tuple(crop[0, 0, :2]) == ((height - size) // 2, (width - size) // 2)
    assert tuple(crop[-1, -1, :2]) == ((height - size) // 2 + size - 1, (width - size) // 2 + size - 1)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(1, 20))
def test_the_center_tile_is_the_middle_of_the_center_square(height, width, tile_height, tile_width):
    tile = center_tile(numbered(height, width), (tile_height, tile_width))
    assert tile.shape == (tile_height, tile_width, 3)
    side = max(tile_height, tile_width)
    top, left = (side - tile_height) // 2, (side - tile_width) // 2
    assert np.array_equal(tile, center_square(numbered(height, width), side)[top : top + tile_height, left : left + tile_width])


def test_the_center_tile_of_a_large_picture_is_cut_out_and_not_resized():
    assert center_tile(numbered(21, 30), (4, 8))[0, 0].tolist() == [8, 11, 0]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 40))
def test_the_center_square_of_a_small_picture_is_its_largest_one_enlarged(height, width, size):
    pixels = numbered(height, width)
    side = min(height, width, size)
    assert np.array_equal(center_square(pixels, size), resize(center_crop(pixels, side), size, size))


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 20), st.floats(0.1, 3), st.floats(0, 3), st.integers(0, 99))
def test_a_random_crop_fits_every_picture_and_depends_on_the_generator_alone(height, width, size, low, more, seed):
    pixels = numbered(height, width)
    scales = (low, low + more)
    crop = random_scale_crop(pixels, size, scales=scales, rng=np.random.default_rng(seed))
    assert crop.shape == (size, size, 3)
    assert crop.flags.c_contiguous
    assert np.array_equal(crop, random_scale_crop(pixels, size, scales=scales, rng=np.random.default_rng(seed)))


def test_crops_of_scale_one_are_parts_of_the_picture_and_reach_its_corners():
    rng = np.random.default_rng(0)
    crops = [random_scale_crop(numbered(10, 12), 8, scales=(1, 1), rng=rng) for _ in range(300)]
    corners = {tuple(crop[0, 0, :2].tolist()) for crop in crops}
    assert corners == {(y, x) for y in range(3) for x in range(5)}
    for crop in crops:
        top, left = crop[0, 0, :2]
        assert np.array_equal(crop, numbered(10, 12)[top : top + 8, left : left + 8])


def test_the_scale_says_how_much_of_the_picture_a_crop_shows():
    rng = np.random.default_rng(0)
    pixels = numbered(200, 200)
    shown = [np.ptp(random_scale_crop(pixels, 32, scales=(0.5, 2), rng=rng)[:, 16, 0].astype(int)) for _ in range(200)]
    assert 10 <= min(shown) <= 20
    assert 58 <= max(shown) <= 64


def test_the_number_of_draws_does_not_depend_on_the_picture():
    ends = []
    for shape in ((5, 5), (100, 40)):
        rng = np.random.default_rng(3)
        random_scale_crop(numbered(*shape), 16, scales=(0.5, 2), rng=rng)
        ends.append(rng.random())
    assert ends[0] == ends[1]


@pytest.mark.parametrize("scales", [(0, 1), (2, 1), (-1, 1), (float("nan"), 1)])
def test_senseless_scales_are_refused(scales):
    with pytest.raises(ValueError, match="scales"):
        random_scale_crop(numbered(4, 4), 2, scales=scales, rng=np.random.default_rng(0))


def test_other_arrays_and_sizes_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        resize(np.zeros((4, 4)), 2, 2)
    with pytest.raises(ValueError, match="positive"):
        resize(numbered(4, 4), 0, 2)
