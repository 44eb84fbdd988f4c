"""Squares out of pictures."""

import numpy as np
import pytest
from PIL import Image

from vtok.eval.protocol.crops import CROPS

every_rule = pytest.mark.parametrize("rule", CROPS)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def columns(height: int, width: int) -> np.ndarray:
    """Each pixel has the number of its column."""
    return np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], (height, width, 3)).copy()


@every_rule
@pytest.mark.parametrize(("height", "width"), [(24, 24), (25, 61), (61, 25), (7, 9), (100, 30), (49, 48), (1, 5)])
def test_any_picture_gives_a_square_of_its_own_pixels(rule: str, height: int, width: int) -> None:
    square = CROPS[rule](noise(height, width), 24)
    assert square.shape == (24, 24, 3)
    assert square.dtype == np.uint8
    assert square.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("rule", [name for name in CROPS if name != "var"])
def test_a_square_of_the_right_size_is_left_as_it_is(rule: str) -> None:
    assert np.array_equal(CROPS[rule](noise(24, 24), 24), noise(24, 24))


def test_adm_cuts_less_off_left_and_torchvision_rounds_halves_to_even() -> None:
    assert [int(CROPS[rule](columns(24, 27), 24)[0, 0, 0]) for rule in ("adm", "resize_center_bicubic")] == [1, 2]
    assert [int(CROPS[rule](columns(24, 25), 24)[0, 0, 0]) for rule in ("adm", "resize_center_bicubic")] == [0, 0]


def test_adm_halves_by_averaging_while_the_picture_is_twice_as_large() -> None:
    pixels = noise(48, 49)
    halved = np.asarray(Image.fromarray(pixels).resize((24, 24), Image.Resampling.BOX))
    assert np.array_equal(CROPS["adm"](pixels, 24), halved)


def test_vars_square_is_the_middle_of_a_larger_one() -> None:
    pixels = noise(90, 60)
    larger = np.asarray(Image.fromarray(pixels).resize((36, 54), Image.Resampling.LANCZOS))
    assert np.array_equal(CROPS["var"](pixels, 32), larger[11:43, 2:34])


@every_rule
def test_the_picture_itself_is_left_alone(rule: str) -> None:
    pixels = noise(24, 30)
    CROPS[rule](pixels, 24)[:] = 0
    assert np.array_equal(pixels, noise(24, 30))


@every_rule
@pytest.mark.parametrize(("pixels", "size"), [(np.zeros((8, 8), np.uint8), 4), (np.zeros((8, 8, 3), np.float32), 4), (noise(8, 8), 0)])
def test_other_arrays_and_sizes_are_refused(rule: str, pixels: np.ndarray, size: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        CROPS[rule](pixels, size)
