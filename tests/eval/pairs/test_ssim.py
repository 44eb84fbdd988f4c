"""SSIM against published values and its limits."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.parity import stored_values
from vtok.eval.pairs.ssim import ssim


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parity
def test_values_are_those_of_scikit_image():
    folder = stored_values("image_metrics")
    config = json.loads((folder / "config.json").read_text())
    inputs, outputs = load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")
    for pair in range(len(config["sizes"]["pairs"])):
        name = f"ssim_rgb_gauss_skimage_{pair}"
        first, second = (np.moveaxis(inputs[f"{letter}_{pair}"], 0, 2) for letter in "ab")
        relative, absolute = config["tolerance"][name]
        assert ssim(first, second) == pytest.approx(float(outputs[name][0]), rel=relative, abs=absolute)


def test_equal_pictures_have_one():
    assert ssim(noise(40, 30, 0), noise(40, 30, 0)) == pytest.approx(1, abs=1e-12)


def test_a_tall_picture_is_the_mean_of_its_places():
    first = noise(600, 12, 1)
    second = np.where(np.random.default_rng(3).random((600, 12, 1)) < 0.3, noise(600, 12, 2), first)
    rows = [ssim(first[top : top + 11], second[top : top + 11]) for top in range(590)]
    assert ssim(first, second) == pytest.approx(np.mean(rows), abs=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (noise(11, 11, 0), noise(11, 12, 0), "of one shape"),
        (noise(11, 11, 0).astype(np.float32), noise(11, 11, 0).astype(np.float32), "uint8"),
        (noise(10, 40, 0), noise(10, 40, 0), "at least 11 x 11 pixels, got 40 x 10"),
    ],
)
def test_other_arrays_are_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        ssim(first, second)
