"""FlexTok's encoder: what depends on what, its positions and its patches."""

from typing import Any

import pytest
import torch
from torch import Tensor

from vtok.models.gated_transformer import mlp_width, patches_then_registers
from vtok.models.patch_map import from_patches, sine_positions, to_patches
from vtok.models.register_encoder import RegisterEncoder
from vtok.models.transformer import ALL, TransformerConfig

SIDE, CHANNELS, PATCH, REGISTERS, DIM = 4, 3, 2, 6, 5


def an_encoder(num_registers: int = REGISTERS, depth: int = 3) -> RegisterEncoder:
    """Random weights, the same for any number of registers but for theirs."""
    encoder = RegisterEncoder(TransformerConfig(dim=32, depth=depth, heads=2), CHANNELS, PATCH, SIDE, num_registers, DIM)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name != "registers":
                parameter.normal_(0, 0.3 if parameter.ndim < 2 else parameter[0].numel() ** -0.5, generator=generator)
        encoder.registers.copy_(torch.randn(100, 32, generator=generator)[:num_registers])
    return encoder.eval()


def maps(num: int = 2) -> Tensor:
    return torch.randn(num, CHANNELS, SIDE * PATCH, SIDE * PATCH, generator=torch.Generator().manual_seed(1))


def after_blocks(encoder: RegisterEncoder) -> list[Tensor]:
    """What each block will give."""
    seen: list[Tensor] = []
    for block in encoder.blocks:
        block.register_forward_hook(lambda _, __, out: seen.append(out))
    return seen


# --- what depends on what


@torch.no_grad()
@pytest.mark.parametrize("num", [1, 2, 5])
def test_the_first_vectors_do_not_depend_on_how_many_follow(num: int) -> None:
    torch.testing.assert_close(an_encoder(num)(maps()), an_encoder()(maps())[:, :num], rtol=0, atol=1e-5)


@torch.no_grad()
def test_patches_do_not_depend_on_registers() -> None:
    few, many = an_encoder(1), an_encoder()
    seen = after_blocks(few), after_blocks(many)
    for encoder in (few, many):
        encoder(maps())
    for ours, theirs in zip(*seen, strict=True):
        if ours.shape[1] > 1:  # the last block gives registers alone
            torch.testing.assert_close(ours[:, : SIDE**2], theirs[:, : SIDE**2], rtol=0, atol=1e-5)
    assert [out.shape[1] for out in seen[1]] == [SIDE**2 + REGISTERS] * 2 + [REGISTERS]


def test_a_vector_knows_its_register_those_before_it_and_every_pixel() -> None:
    encoder, images = an_encoder(), maps(1).requires_grad_()
    for own in range(REGISTERS):
        images.grad = encoder.registers.grad = None
        encoder(images)[0, own].square().sum().backward()
        assert images.grad is not None
        assert encoder.registers.grad is not None
        assert encoder.registers.grad.any(1).tolist() == [other <= own for other in range(REGISTERS)]
        assert bool((images.grad != 0).all())


@torch.no_grad()
def test_the_last_block_computes_no_patches_and_changes_nothing_by_that() -> None:
    encoder = an_encoder()
    patches = encoder.embed(maps())
    x = torch.cat([patches, encoder.registers.expand(2, -1, -1)], 1)
    for block in encoder.blocks:
        x = block(x, ALL, patches_then_registers(SIDE**2))
    torch.testing.assert_close(encoder(maps()), encoder.head(torch.layer_norm(x[:, SIDE**2 :], [32])), rtol=0, atol=1e-5)


@torch.no_grad()
def test_an_encoder_without_blocks_says_the_same_of_every_map() -> None:
    found = an_encoder(depth=0)(maps())
    assert found.shape == (2, REGISTERS, DIM)
    assert torch.equal(found[0], found[1])


def test_blocks_computed_again_give_the_same_gradients() -> None:
    found = []
    for again in (False, True):
        encoder = an_encoder()
        encoder.checkpointing = again
        encoder(maps()).square().sum().backward()
        found.append({name: parameter.grad for name, parameter in encoder.named_parameters()})
    assert all(gradient is not None for gradient in found[0].values())
    torch.testing.assert_close(found[1], found[0])


# --- places


@torch.no_grad()
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (2, 3), (4, 1)])
def test_smaller_maps_take_the_upper_left_positions(rows: int, cols: int) -> None:
    encoder = an_encoder()
    part = encoder.embed(maps()[:, :, : rows * PATCH, : cols * PATCH])
    whole = encoder.embed(maps()).unflatten(1, (SIDE, SIDE))
    torch.testing.assert_close(part.unflatten(1, (rows, cols)), whole[:, :rows, :cols])
    assert encoder(maps()[:, :, : rows * PATCH, : cols * PATCH]).shape == (2, REGISTERS, DIM)


def test_positions_are_sines_and_cosines_of_the_row_then_of_the_column() -> None:
    table = sine_positions(5, 12).double()
    rates = torch.tensor([1, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3)], dtype=torch.float64)
    for row in range(5):
        for col in range(5):
            expected = torch.cat([(row * rates).sin(), (row * rates).cos(), (col * rates).sin(), (col * rates).cos()])
            torch.testing.assert_close(table[row, col], expected, rtol=0, atol=1e-6)


def test_positions_are_fixed_and_stored() -> None:
    encoder = an_encoder()
    assert "positions" in encoder.state_dict()
    assert "positions" not in dict(encoder.named_parameters())


def test_a_width_that_is_no_multiple_of_4_is_refused() -> None:
    with pytest.raises(ValueError, match="a width that is a multiple of 4, got 10"):
        sine_positions(4, 10)


def test_a_patch_is_its_rows_its_columns_then_its_channels() -> None:
    whole = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6).float()
    patches = to_patches(whole, 2)
    assert patches.shape == (2, 6, 12)
    for row in range(4):
        for col in range(6):
            place = row % 2 * 2 + col % 2
            assert torch.equal(patches[:, row // 2 * 3 + col // 2, 3 * place : 3 * place + 3], whole[:, :, row, col])
    assert torch.equal(from_patches(patches, 2, rows=2), whole)


# --- sizes and a start


@pytest.mark.parametrize(("dim", "expected"), [(768, 2048), (1152, 3072), (1792, 4778)])
def test_gated_mlps_are_as_wide_as_published(dim: int, expected: int) -> None:
    assert mlp_width(dim) == expected


def test_a_fresh_encoder_begins_as_published() -> None:
    torch.manual_seed(0)
    encoder = RegisterEncoder(TransformerConfig(dim=128, depth=1, heads=2), 16, 2, 4, 64, 6)
    block: Any = encoder.blocks[0]
    assert float(encoder.registers.detach().std()) == pytest.approx(0.02, rel=0.05)
    for parameter in (encoder.patch_embed.bias, encoder.head.bias, encoder.head.weight):
        assert not parameter.any()
    for matrix in (*block.attention.qkv.weight.chunk(3), block.attention.out.weight, *block.mlp.gate_value.weight.chunk(2)):
        assert float(matrix.detach().std()) == pytest.approx((2 / sum(matrix.shape)) ** 0.5, rel=0.05)
