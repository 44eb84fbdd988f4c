"""Scores of a tokenizer on fixed pictures."""

import pytest
import torch

from tests.train.toy import ToyTokenizer
from vtok.data.eight_bit import to_eight_bit
from vtok.errors import ConfigError
from vtok.eval.pairs.lpips import VARIABLE, Lpips
from vtok.eval.pairs.psnr import psnr
from vtok.tokenizers.linear import LinearTokenizer
from vtok.train.engine.picture_grid import picture_grid, shown_lengths
from vtok.train.engine.validation import Validation, find_lpips, whole_tiles


@pytest.fixture
def tokenizer():
    return LinearTokenizer.tiny()


@pytest.fixture
def images():
    return torch.rand(9, 3, 32, 48, generator=torch.Generator().manual_seed(0))  # one more than go through the network at once


def pixels(image):
    return to_eight_bit(image).permute(1, 2, 0).contiguous().numpy()


def test_psnr_is_the_mean_over_whole_pictures(tokenizer, images):
    scores = Validation(images, tokenizer.spec, (4, 0)).measure(tokenizer)
    decoded = tokenizer.decode_grid(tokenizer.encode_grid(images).prefix(4), 2, 3)
    expected = [psnr(pixels(image), pixels(picture)) for image, picture in zip(images, decoded, strict=True)]
    assert scores.psnr.keys() == {4, 8}
    assert scores.psnr[4] == pytest.approx(sum(expected) / 9)
    assert scores.mean("psnr") == pytest.approx((scores.psnr[4] + scores.psnr[8]) / 2)
    assert scores.lpips is None


def test_lpips_is_measured_beside_and_lower_is_better(tokenizer, images, shared, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(shared / "data" / "weights" / "lpips_alex.safetensors"))
    lpips = find_lpips(32, "lpips")
    scores = Validation(images[:2], tokenizer.spec, (8,), lpips=lpips).measure(tokenizer)
    decoded = tokenizer.decode_grid(tokenizer.encode_grid(images[:2]), 2, 3)
    assert scores.lpips == {8: pytest.approx(float(Lpips()(images[:2], decoded).mean()), rel=1e-4)}
    assert scores.mean("lpips") == -scores.lpips[8]


def test_a_length_given_twice_is_measured_once(tokenizer, images):
    assert Validation(images, tokenizer.spec, (8, 1, 0)).lengths == (8, 1)


def test_codes_are_counted_over_all_tiles(tokenizer, images):
    codebook = Validation(images, tokenizer.spec, (1,)).measure(tokenizer).to_json()["codebook"]
    ids = tokenizer.encode_grid(images).ids
    used = [len(ids[:, k].unique()) / 16 for k in range(8)]
    assert [position for (position,) in codebook["usage"]] == pytest.approx(used, abs=1e-4)
    assert codebook["usage_mean"] == pytest.approx(sum(used) / 8)
    assert codebook["usage_min"] == pytest.approx(min(used))


def test_pictures_are_cut_to_whole_tiles(tokenizer):
    assert whole_tiles(torch.zeros(1, 3, 40, 31), tokenizer.spec).shape == (1, 3, 32, 16)
    with pytest.raises(ConfigError, match=r"crop_size is 15 pixels, expected at least the tokenizer's tile of 16"):
        whole_tiles(torch.zeros(1, 3, 15, 15), tokenizer.spec)


def test_a_grid_has_a_row_for_each_picture_and_the_original_first(images):
    tokenizer = ToyTokenizer.tiny()
    grid = picture_grid(tokenizer, images[:2, :, :, :32])
    assert shown_lengths(tokenizer.spec) == [1, 4, 8]
    assert (grid[16:48, 4:36] == pixels(images[0, :, :, :32])).all()
    assert (grid[52:84, 4:36] == pixels(images[1, :, :, :32])).all()
