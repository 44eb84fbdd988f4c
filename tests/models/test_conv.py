"""The convolutional networks that LlamaGen's VQ, FQGAN and TokenFlow share: where a natural implementation would differ from them."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import conv2d, group_norm, interpolate, pad, silu

from vtok.models.conv import AttentionBlock, ConvConfig, ConvDecoder, ConvEncoder, Downsample, LatentHead, ResidualBlock

CONFIG = ConvConfig(dim=32, multiples=(2, 1, 3), num_blocks=2, z_dim=16)


def maps(channels: int, height: int = 6, width: int = 5) -> Tensor:
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(0))


def seeded(make: Any) -> Any:
    torch.manual_seed(0)
    module = make()
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0, 0.1)
    return module


def networks() -> Any:
    """Encoder, head and decoder."""
    return seeded(lambda: nn.ModuleList([ConvEncoder(CONFIG), LatentHead(CONFIG, 4), ConvDecoder(CONFIG, 4)]))


@torch.no_grad()
@pytest.mark.parametrize("out_dim", [32, 64])
def test_a_residual_block_adds_its_input_or_a_shortcut_of_it(out_dim: int) -> None:
    block, x = seeded(lambda: ResidualBlock(32, out_dim)), maps(32)
    h = block.conv1(silu(group_norm(x, 32, block.norm1.weight, block.norm1.bias, 1e-6)))
    h = block.conv2(silu(group_norm(h, 32, block.norm2.weight, block.norm2.bias, 1e-6)))
    skipped = x if out_dim == 32 else conv2d(x, block.shortcut.weight, block.shortcut.bias)
    torch.testing.assert_close(block(x), h + skipped)
    assert torch.equal(x, maps(32))


@torch.no_grad()
def test_attention_is_one_head_over_all_places_with_its_input_added() -> None:
    block, x = seeded(lambda: AttentionBlock(32)), maps(32)
    q, k, v = block.qkv(group_norm(x, 32, block.norm.weight, block.norm.bias, 1e-6)).flatten(2).chunk(3, 1)  # (B, D, N)
    weights = (torch.einsum("bdi,bdj->bij", q, k) * 32**-0.5).softmax(-1)
    attended = torch.einsum("bij,bdj->bdi", weights, v).view_as(x)
    torch.testing.assert_close(block(x), x + block.out(attended))


@torch.no_grad()
def test_zeros_lie_to_the_right_and_below_where_a_map_is_halved() -> None:
    layer, x = seeded(lambda: Downsample(32)), maps(32, 6, 4)
    torch.testing.assert_close(layer(x), conv2d(pad(x, (0, 1, 0, 1)), layer.weight, layer.bias, stride=2))
    assert layer(x).shape == (2, 32, 3, 2)


@torch.no_grad()
def test_a_map_is_repeated_and_then_convolved_where_it_is_doubled() -> None:
    layer, x = networks()[2].upsamples[0], maps(96)
    torch.testing.assert_close(layer(x), conv2d(interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=1))


def test_norms_add_1e_6_in_32_groups() -> None:
    norms = [module for module in networks().modules() if isinstance(module, nn.GroupNorm)]
    assert {(norm.num_groups, norm.eps) for norm in norms} == {(32, 1e-6)}


def test_widths_change_in_the_first_block_of_a_level_and_nowhere_else() -> None:
    encoder, _, decoder = networks()
    kernels = [[tuple(b.conv1.weight.shape[:2]) for b in level.residual] for level in encoder.levels]
    assert kernels == [[(64, 32), (64, 64)], [(32, 64), (32, 32)], [(96, 32), (96, 96)]]
    kernels = [[tuple(b.conv1.weight.shape[:2]) for b in level.residual] for level in decoder.levels]
    assert kernels == [[(96, 96)] * 3, [(32, 96), (32, 32), (32, 32)], [(64, 32), (64, 64), (64, 64)]]
    assert [layer.in_channels for layer in encoder.downsamples] == [64, 32]
    assert [layer.in_channels for layer in decoder.upsamples] == [96, 32]


def test_attention_follows_each_block_of_the_lowest_resolution_alone() -> None:
    encoder, _, decoder = networks()
    attends = [[isinstance(part, AttentionBlock) for part in level.attention] for level in encoder.levels]
    assert attends == [[False] * 2, [False] * 2, [True] * 2]
    attends = [[isinstance(part, AttentionBlock) for part in level.attention] for level in decoder.levels]
    assert attends == [[True] * 3, [False] * 3, [False] * 3]


@torch.no_grad()
@pytest.mark.parametrize("size", [(8, 8), (12, 20)])
def test_pictures_of_any_size_in_whole_squares_come_back_at_their_size(size: tuple[int, int]) -> None:
    encoder, head, decoder = networks()
    latents = head(encoder(maps(3, *size)))
    assert CONFIG.downsample == 4
    assert latents.shape == (2, 4, size[0] // 4, size[1] // 4)
    assert decoder(latents).shape == (2, 3, *size)


def test_levels_computed_again_give_the_same_gradients() -> None:
    found = []
    for again in (False, True):
        parts = networks()
        parts[0].checkpointing = parts[2].checkpointing = again
        x = maps(3, 8, 8)
        for part in parts:
            x = part(x)
        x.square().mean().backward()
        found.append([parameter.grad for parameter in parts.parameters()])
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"multiples": (1, 0)}, "multiples are 1 to 64"),
        ({"multiples": (65,)}, "multiples are 1 to 64"),
        ({"dim": 4096, "multiples": (64,)}, "numbers, at most"),
        ({"dim": 48}, "multiple of 32"),
        ({"multiples": ()}, "at least 1 item"),
    ],
)
def test_sizes_that_are_none_are_refused(sizes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ConvConfig(**sizes)
