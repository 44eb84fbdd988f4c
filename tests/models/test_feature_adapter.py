"""The transformer between a convolutional encoder and a head."""

import torch
from torch import nn

from vtok.models.conv import norm
from vtok.models.feature_adapter import FeatureAdapter
from vtok.models.transformer import TransformerConfig

SIDE = 3


def adapter() -> FeatureAdapter:
    torch.manual_seed(0)
    return FeatureAdapter(TransformerConfig(dim=32, depth=2, heads=2), SIDE)


def maps() -> torch.Tensor:
    return torch.randn(2, 32, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_places_are_tokens_row_by_row_with_positions_of_their_own() -> None:
    network, x = adapter(), maps()
    tokens = torch.stack([x[:, :, row, col] for row in range(SIDE) for col in range(SIDE)], 1) + network.positions
    expected = network.norm_out(network.transformer(network.norm_in(tokens)))
    torch.testing.assert_close(network(x)[:, :, 1, 2], expected[:, 5])


def test_norms_add_1e_5() -> None:
    assert {module.eps for module in adapter().modules() if isinstance(module, nn.LayerNorm)} == {1e-5}


def test_a_norm_behind_a_frozen_adapter_gets_its_gradient() -> None:
    network, after = adapter().requires_grad_(False), norm(32)
    out = network(maps())
    assert out.is_contiguous()
    after(out).square().mean().backward()
    assert after.weight.grad is not None
