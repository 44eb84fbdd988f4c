"""Differences of pixels."""

import math

import pytest
import torch

from vtok.train.losses.pixel import LOG_FLOOR, PIXEL_LOSSES

IMAGES = torch.zeros(2, 3, 2, 2)
PICTURES = torch.stack([torch.full((3, 2, 2), 0.5), torch.tensor([0.0, 1.0]).expand(3, 2, 2)])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", [0.5, 0.5]),
        ("l2", [0.25, 0.5]),
        ("log_l2", [math.log(0.25 + 1e-4), math.log(0.5 + 1e-4)]),
        ("charbonnier", [(0.25 + 1e-6) ** 0.5 - 1e-3, ((1 + 1e-6) ** 0.5 - 1e-3) / 2]),
    ],
)
def test_each_sample_has_its_mean_over_pixels(name, expected):
    torch.testing.assert_close(PIXEL_LOSSES[name](PICTURES, IMAGES), torch.tensor(expected))


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_equal_pictures_are_at_no_distance_and_their_gradient_is_finite(name):
    pictures = torch.rand(2, 3, 4, 4).requires_grad_()
    loss = PIXEL_LOSSES[name](pictures, pictures.detach())
    loss.sum().backward()
    nearest = math.log(LOG_FLOOR) if name == "log_l2" else 0
    assert loss.tolist() == pytest.approx([nearest, nearest], abs=1e-6)
    assert bool(pictures.grad.isfinite().all())


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_bfloat16_pictures_are_compared_in_float32(name):
    half = PICTURES.bfloat16()
    assert PIXEL_LOSSES[name](half, IMAGES).dtype == torch.float32
    assert torch.equal(PIXEL_LOSSES[name](half, IMAGES), PIXEL_LOSSES[name](half.float(), IMAGES))
