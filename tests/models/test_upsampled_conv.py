"""The convolution of an enlarged map is the one on the small map."""

import pytest
import torch
from torch.nn.functional import conv2d, interpolate

from vtok.models.upsampled_conv import UpsampledConv


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (3, 5)])
def test_it_is_the_convolution_of_cells_repeated_twice(height: int, width: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    layer = UpsampledConv(6)
    x = torch.randn(2, 6, height, width).contiguous(memory_format=layout)
    expected = conv2d(interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=1)
    found = layer(x)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=layout) or height == width == 1


def test_gradients_are_those_of_the_convolution() -> None:
    torch.manual_seed(0)
    layer = UpsampledConv(4)
    x = torch.randn(2, 4, 3, 3, requires_grad=True)
    own = torch.autograd.grad(layer(x).square().sum(), [x, layer.weight])
    other = torch.autograd.grad(
        conv2d(interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=1).square().sum(), [x, layer.weight]
    )
    for found, expected in zip(own, other, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
