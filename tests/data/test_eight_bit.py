"""The one 8-bit conversion."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vtok.data import from_eight_bit, to_eight_bit


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.just(3))))
def test_eight_bits_come_back_from_floats(pixels):
    images = from_eight_bit(pixels)
    assert images.shape == (pixels.shape[0], 3, *pixels.shape[1:3])
    assert (images.dtype, images.is_contiguous()) == (torch.float32, True)
    assert 0 <= images.min() <= images.max() <= 1
    assert np.array_equal(to_eight_bit(images).permute(0, 2, 3, 1).numpy(), pixels)


def test_all_levels_come_back_from_every_precision():
    levels = torch.arange(256)
    for dtype in (torch.float16, torch.float32, torch.float64):
        assert torch.equal(to_eight_bit(levels.to(dtype) / 255), levels.byte())


def test_halves_are_rounded_to_even_and_values_beyond_are_clamped():
    values = torch.tensor([0.5, 1.5, 2.5, 253.5, 254.5], dtype=torch.float64) / 255
    assert to_eight_bit(values).tolist() == [0, 2, 2, 254, 254]
    assert to_eight_bit(torch.tensor([-1.0, -0.0, 1.0, 7.0, float("inf"), -float("inf")])).tolist() == [0, 0, 255, 255, 255, 0]


@given(st.floats(0, 1))
def test_rounding_is_never_off_by_more_than_half_a_level(value):
    assert abs(int(to_eight_bit(torch.tensor(value, dtype=torch.float64))) - value * 255) <= 0.5


def test_half_precision_is_rounded_as_float32_would():
    values = torch.linspace(0, 1, 4097).bfloat16()
    assert torch.equal(to_eight_bit(values), to_eight_bit(values.float()))


def test_the_input_is_left_alone_and_gradients_end():
    images = torch.rand(1, 3, 4, 4, requires_grad=True)
    before = images.detach().clone()
    assert not to_eight_bit(images).requires_grad
    assert torch.equal(images, before)


def test_nan_and_integers_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        to_eight_bit(torch.tensor([0.0, float("nan")]))
    with pytest.raises(ValueError, match="must be float"):
        to_eight_bit(torch.zeros(2, dtype=torch.uint8))


def test_a_single_picture_becomes_a_batch_of_one_that_shares_no_memory():
    pixels = np.full((1, 1, 3), 51, np.uint8)
    pixels.flags.writeable = False
    images = from_eight_bit(pixels)
    images += 1
    assert images.shape == (1, 3, 1, 1)
    assert pixels.tolist() == [[[51, 51, 51]]]


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((3, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_other_shapes_and_types_are_refused(pixels):
    with pytest.raises(ValueError, match="uint8"):
        from_eight_bit(pixels)
