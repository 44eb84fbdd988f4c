"""PSNR against its formula and its limits."""

import math

import numpy as np
import pytest

from vtok.eval.pairs.psnr import psnr


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_equal_pictures_have_no_error():
    assert psnr(noise(5, 7, 0), noise(5, 7, 0)) == math.inf


def test_black_against_white_is_zero_decibels():
    assert psnr(np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)) == 0


def test_one_level_everywhere_is_48_decibels():
    assert psnr(np.full((9, 2, 3), 7, np.uint8), np.full((9, 2, 3), 6, np.uint8)) == pytest.approx(20 * math.log10(255), abs=1e-12)


def test_a_tall_picture_is_measured_whole():
    first, second = noise(1200, 3, 1), noise(1200, 3, 2)
    error = np.mean((first.astype(np.float64) - second) ** 2)
    assert psnr(first, second) == pytest.approx(10 * math.log10(255**2 / error), abs=1e-12)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)),
        (np.zeros((2, 2, 3), np.float32), np.zeros((2, 2, 3), np.float32)),
        (np.zeros((0, 2, 3), np.uint8), np.zeros((0, 2, 3), np.uint8)),
    ],
)
def test_pictures_that_do_not_compare_are_refused(first, second):
    with pytest.raises(ValueError, match="uint8 pictures of one shape"):
        psnr(first, second)
