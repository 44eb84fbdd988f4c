"""Grids in bands of rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtok.models import tile_bands
from vtok.models.tile_bands import bands


@given(rows=st.integers(1, 200), cols=st.integers(1, 200))
def test_bands_are_all_rows_in_order(rows: int, cols: int) -> None:
    parts = bands(rows, cols)
    assert [row for part in parts for row in range(rows)[part]] == list(range(rows))


@given(rows=st.integers(1, 200), cols=st.integers(1, 200))
def test_a_band_is_one_row_or_within_the_bound(rows: int, cols: int) -> None:
    for part in bands(rows, cols):
        height = len(range(rows)[part])
        assert height == 1 or height * cols <= tile_bands.TILES_AT_ONCE


def test_a_grid_within_the_bound_is_one_band(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_bands, "TILES_AT_ONCE", 12)
    assert bands(4, 3) == [slice(0, 4)]
    assert bands(5, 3) == [slice(0, 4), slice(4, 5)]
    assert bands(2, 13) == [slice(0, 1), slice(1, 2)]
