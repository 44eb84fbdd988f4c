"""Local layers run window by window give what they give at once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vtok.models.autoencoders.windows import in_windows


def convolution(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv2d:
    made = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(inputs + outputs)
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return made.requires_grad_(False)


SAME = nn.Sequential(convolution(2, 3), nn.Tanh(), convolution(3, 4))  # sees 2 cells around
HALF = nn.Sequential(convolution(2, 3), nn.Tanh(), convolution(3, 4, stride=2))  # 2 cells
DOUBLE = nn.Sequential(convolution(2, 3), nn.Upsample(scale_factor=2), nn.Tanh(), convolution(3, 4))  # 1.5 cells


def random_map(height: int, width: int) -> Tensor:
    return torch.randn(2, 2, height, width, generator=torch.Generator().manual_seed(height * 100 + width), dtype=torch.float64)


@given(height=st.integers(1, 17), width=st.integers(1, 17), window=st.integers(3, 9), margin=st.integers(2, 5))
@settings(deadline=None, max_examples=25)
def test_layers_that_keep_the_size(height: int, width: int, window: int, margin: int) -> None:
    x = random_map(height, width)
    torch.testing.assert_close(in_windows(SAME, x, window=window, margin=margin), SAME(x))


@given(height=st.integers(1, 13), width=st.integers(1, 13), window=st.integers(2, 6), margin=st.integers(2, 4))
@settings(deadline=None, max_examples=30)
def test_layers_that_double_the_size(height: int, width: int, window: int, margin: int) -> None:
    x = random_map(height, width)
    torch.testing.assert_close(in_windows(DOUBLE, x, window=window, margin=margin, scale=2), DOUBLE(x))


@given(height=st.integers(1, 12), width=st.integers(1, 12), window=st.integers(1, 5), margin=st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_layers_that_halve_the_size(height: int, width: int, window: int, margin: int) -> None:
    x = random_map(2 * height, 2 * width)
    torch.testing.assert_close(in_windows(HALF, x, window=2 * window, margin=2 * margin, scale=1 / 2), HALF(x))


@pytest.mark.parametrize("size", [(8, 8), (1, 8), (8, 3)])
def test_a_map_of_one_window_is_run_at_once(size: tuple[int, int]) -> None:
    seen = []

    def layers(x: Tensor) -> Tensor:
        seen.append(x.shape[2:])
        return x

    x = random_map(*size)
    assert in_windows(layers, x, window=8, margin=2) is x
    assert seen == [size]


def test_no_part_is_larger_than_a_window_and_its_margins() -> None:
    seen = []

    def layers(x: Tensor) -> Tensor:
        seen.append(x.shape[2:])
        return SAME(x)

    in_windows(layers, random_map(40, 20), window=6, margin=2)
    assert len(seen) == 7 * 4
    assert max(height for height, _ in seen) == max(width for _, width in seen) == 6 + 2 * 2


def test_a_margin_below_what_the_layers_see_shows() -> None:
    x = random_map(12, 12)
    assert not torch.allclose(in_windows(SAME, x, window=6, margin=1), SAME(x))


def test_gradients_are_those_of_the_whole() -> None:
    x = random_map(11, 14).requires_grad_()
    weights = torch.randn(2, 4, 11, 14, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (whole,) = torch.autograd.grad((SAME(x) * weights).sum(), x)
    (parts,) = torch.autograd.grad((in_windows(SAME, x, window=4, margin=2) * weights).sum(), x)
    torch.testing.assert_close(parts, whole)


def test_the_type_of_the_layers_is_kept() -> None:
    out = in_windows(lambda x: x.to(torch.bfloat16), random_map(5, 5), window=2, margin=0)
    assert out.dtype == torch.bfloat16
