"""Linear layers as convolutions are linear layers."""

import pytest
import torch
from torch.nn import functional

from vtok.models.linear import Linear, linear


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (3, 1)])
def test_values_and_gradients_are_those_of_the_matrix_product(shape: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    layer = Linear(12, 5, bias=bias)
    x = torch.randn(*shape, 12, requires_grad=True)
    torch.testing.assert_close(layer(x), functional.linear(x, layer.weight, layer.bias))
    own = torch.autograd.grad(layer(x).square().sum(), [x, layer.weight])
    other = torch.autograd.grad(functional.linear(x, layer.weight, layer.bias).square().sum(), [x, layer.weight])
    for found, expected in zip(own, other, strict=True):
        torch.testing.assert_close(found, expected)


def test_parts_of_a_sequence_and_of_the_weights_may_be_taken() -> None:
    torch.manual_seed(0)
    layer, x = Linear(8, 6), torch.randn(2, 9, 8)
    found = linear(x[:, 2:5], layer.weight[:4], layer.bias[:4])
    torch.testing.assert_close(found, functional.linear(x, layer.weight, layer.bias)[:, 2:5, :4])


def test_half_precision_takes_the_usual_way() -> None:
    torch.manual_seed(0)
    layer, x = Linear(8, 6), torch.randn(2, 3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        assert torch.equal(layer(x), functional.linear(x, layer.weight, layer.bias))
    assert layer.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
