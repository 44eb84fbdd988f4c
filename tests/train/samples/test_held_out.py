"""Pictures to measure on while training."""

import numpy as np
import pytest
import torch

from vtok.data import from_eight_bit, write_picture
from vtok.data.sources import is_held_out
from vtok.errors import DataError
from vtok.train.config import DataConfig
from vtok.train.samples.held_out import held_out_crops

HELD_OUT = [number for number in range(120) if is_held_out(f"{number}.png")]
OTHERS = [number for number in range(8) if not is_held_out(f"{number}.png")]


def flat(number: int, height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), 2 * number, np.uint8)


def numbers(crops: torch.Tensor) -> list[int]:
    return [round(crop.mean().item() * 255 / 2) for crop in crops]


@pytest.fixture
def folder(tmp_path):
    for number in HELD_OUT + OTHERS:
        write_picture(tmp_path / f"{number}.png", flat(number))
    return tmp_path


@pytest.mark.parametrize("split", ["all", "train", "held_out"])
def test_they_are_of_the_held_out_part_whatever_is_trained_on(folder, split):
    crops = held_out_crops(DataConfig(path=str(folder), split=split, crop_size=16), 100)
    assert (crops.shape, crops.dtype) == ((len(HELD_OUT), 3, 16, 16), torch.float32)
    assert sorted(numbers(crops)) == HELD_OUT


def test_fewer_are_the_same_ones_for_every_seed(folder):
    config = DataConfig(path=str(folder), crop_size=16)
    assert numbers(held_out_crops(config, 2, seed=1)) == numbers(held_out_crops(config, 3))[:2]


def test_without_a_held_out_picture_others_are_taken(tmp_path):
    for number in OTHERS:
        write_picture(tmp_path / f"{number}.png", flat(number))
    assert sorted(numbers(held_out_crops(DataConfig(path=str(tmp_path), crop_size=16), 100))) == OTHERS


def test_a_crop_is_the_middle_and_small_pictures_are_enlarged(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 3), dtype=np.uint8)
    write_picture(tmp_path / "a.png", pixels)
    config = DataConfig(path=str(tmp_path), crop_size=16)
    assert torch.equal(held_out_crops(config, 1), from_eight_bit(pixels[2:18, 8:24]))
    assert held_out_crops(config.model_copy(update={"crop_size": 48}), 1).shape == (1, 3, 48, 48)


def test_broken_pictures_are_passed_over(folder):
    (folder / f"{HELD_OUT[0]}.png").write_bytes(b"junk")
    assert sorted(numbers(held_out_crops(DataConfig(path=str(folder), crop_size=16), 100))) == HELD_OUT[1:]


def test_none_that_can_be_read_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"junk")
    with pytest.raises(DataError, match="no picture could be read"):
        held_out_crops(DataConfig(path=str(tmp_path)), 1)
