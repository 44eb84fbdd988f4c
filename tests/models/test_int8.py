"""Floats as bytes with a scale."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from vtok.models.int8 import SMALL, Int8, compact, from_int8, to_int8

SHAPES = [((5, 7), (0,)), ((5, 7), (1,)), ((2, 5, 3), (1,)), ((4, 2, 3, 3), (1, 2, 3)), ((9,), (0,))]
shapes = pytest.mark.parametrize(("shape", "axes"), SHAPES)
small = st.floats(-2, 2, width=32, allow_subnormal=False)
numbers = small | st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False) | st.sampled_from([0.0, 1e-30, -1e-30, 1e30, 1e-12])


def rounded(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    return Int8(values, axes).rounded()


@shapes
@pytest.mark.parametrize("size", [1.0, 1e-30, 1e-11, 1e30])
def test_rounding_again_changes_nothing(shape: tuple[int, ...], axes: tuple[int, ...], size: float) -> None:
    for seed in range(20):
        values = size * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        once = rounded(values, axes)
        assert torch.equal(rounded(once, axes), once)


@given(row=st.lists(numbers, min_size=1, max_size=9))
@example([0.0] * 4)
@example([1e30, 1e-30, -1e30])
@settings(deadline=None, max_examples=300)
def test_any_row_rounds_once_and_stays_within_half_a_step(row: list[float]) -> None:
    values = torch.tensor([row])
    stored, scale = to_int8(values, 1)
    once = from_int8(stored, scale)
    assert torch.equal(rounded(once, (1,)), once)
    step = max(float(values.abs().max()), 1e-12) / 127
    assert bool(((once - values).abs() <= 0.6 * step).all())  # half a step, and the scale's own rounding by up to 1/2048


@shapes
def test_bytes_and_scales_have_their_shapes_and_kinds(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    stored, scale = to_int8(torch.randn(shape), axes)
    assert stored.dtype == torch.int8
    assert stored.shape == shape
    assert scale.dtype == torch.float32
    assert scale.shape == tuple(1 if axis in axes else extent for axis, extent in enumerate(shape))
    assert bool((scale > 0).all())
    assert int(stored.min()) >= -127


def test_the_largest_takes_all_the_range() -> None:
    stored, _ = to_int8(torch.tensor([[0.1, -3.0], [7.0, 2.0]]), 1)
    assert stored.abs().amax(1).tolist() == [127, 127]


def test_zeros_stay_zeros() -> None:
    stored, scale = to_int8(torch.zeros(3, 4), 1)
    assert not from_int8(stored, scale).any()
    assert bool((scale > 0).all())


def test_the_sign_of_a_row_does_not_matter() -> None:
    values = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rounded(-values, (1,)), -rounded(values, (1,)))


def test_parameters_are_rounded_without_gradients() -> None:
    parameter = torch.nn.Parameter(torch.randn(3, 4))
    assert not rounded(parameter, (1,)).requires_grad


def test_half_precision_is_taken() -> None:
    values = torch.randn(4, 9, generator=torch.Generator().manual_seed(0)).half()
    assert torch.equal(rounded(values, (1,)), rounded(values.float(), (1,)))


@pytest.mark.parametrize(
    ("shape", "scales"),
    [((64, 64), (64, 1)), ((4, 16, 64), (4, 16, 1)), ((64, 8, 3, 3), (64, 1, 1, 1))],
)
def test_matrices_are_stored_with_a_scale_for_each_output(shape: tuple[int, ...], scales: tuple[int, ...]) -> None:
    stored = compact(torch.randn(shape))
    assert isinstance(stored, Int8)
    assert to_int8(stored.values, stored.axes)[1].shape == scales


def test_axes_that_share_a_scale_may_be_named() -> None:
    stored = compact(torch.randn(64, 64), (0,))
    assert isinstance(stored, Int8)
    assert stored.axes == (0,)


@pytest.mark.parametrize("shape", [(SMALL,), (1, SMALL - 1), (), (8, 1, 3, 3)])
def test_short_floats_are_stored_in_half_precision(shape: tuple[int, ...]) -> None:
    stored = compact(torch.zeros(shape))
    assert isinstance(stored, Tensor)
    assert stored.dtype == torch.float16


def test_integers_are_stored_as_they_are() -> None:
    values = torch.arange(SMALL).view(64, -1)
    assert compact(values) is values
