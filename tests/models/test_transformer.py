"""The transformer of the TiTok line against PyTorch's own parts, spelled out."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import gelu

from vtok.models.transformer import Block, Transformer, TransformerConfig, init_transformer

CONFIG = TransformerConfig(dim=12, depth=3, heads=2)


@pytest.fixture
def seeded() -> None:
    torch.manual_seed(0)


def a_transformer() -> Transformer:
    """With biases that count."""
    made = Transformer(CONFIG)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter.normal_(0.5)
    return made


def tokens(number: int = 7) -> Tensor:
    return torch.randn(2, number, 12)


def attention_of(block: Block) -> nn.MultiheadAttention:
    """PyTorch's attention with a block's weights: packed rows are q, k, v."""
    attention = nn.MultiheadAttention(12, 2, batch_first=True)
    own = {"in_proj_weight": block.qkv.weight, "in_proj_bias": block.qkv.bias}
    attention.load_state_dict(own | {f"out_proj.{name}": value for name, value in block.attention_out.state_dict().items()})
    return attention


@pytest.mark.usefixtures("seeded")
def test_a_block_is_attention_and_an_mlp_on_normed_inputs() -> None:
    block, x = a_transformer().blocks[0], tokens()
    assert isinstance(block, Block)
    normed = block.attention_norm(x)
    attended = x + attention_of(block)(normed, normed, normed, need_weights=False)[0]
    expected = attended + block.mlp_out(gelu(block.mlp_in(block.mlp_norm(attended)), approximate="none"))
    torch.testing.assert_close(block(x, slice(None)), expected)


@pytest.mark.usefixtures("seeded")
def test_gelu_is_the_exact_one_and_norms_add_1e_5() -> None:
    for block in Transformer(CONFIG).blocks:
        assert isinstance(block, Block)
        assert block.activation.approximate == "none"
        assert block.attention_norm.eps == block.mlp_norm.eps == 1e-5


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("kept", [slice(None), slice(-3, None), slice(1, 5)])
def test_tokens_that_are_not_kept_are_looked_at_all_the_same(kept: slice) -> None:
    transformer, x = a_transformer(), tokens()
    torch.testing.assert_close(transformer(x, kept), transformer(x)[:, kept])
    torch.testing.assert_close(Transformer(CONFIG.model_copy(update={"depth": 0}))(x, kept), x[:, kept])


@pytest.mark.usefixtures("seeded")
def test_blocks_computed_again_give_the_same_gradients() -> None:
    transformer, x = a_transformer(), tokens()
    found: list[dict[str, Tensor]] = []
    for again in (False, True):
        transformer.checkpointing = again
        transformer.zero_grad()
        transformer(x, slice(-3, None)).square().sum().backward()
        found.append({name: parameter.grad for name, parameter in transformer.named_parameters() if parameter.grad is not None})
    assert found[0].keys() == dict(transformer.named_parameters()).keys()
    assert all(bool(gradient.any()) and torch.equal(gradient, found[1][name]) for name, gradient in found[0].items())


@pytest.mark.usefixtures("seeded")
@torch.no_grad()
def test_bfloat16_autocast_stays_near_float32() -> None:
    transformer, x = a_transformer(), tokens()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = transformer(x, slice(-3, None)).float()
    expected = transformer(x, slice(-3, None))
    assert float((rounded - expected).norm() / expected.norm()) < 0.03  # 8 bits of mantissa, a few products deep


@pytest.mark.usefixtures("seeded")
@torch.no_grad()
def test_attention_begins_as_pytorchs_own() -> None:
    block = Block(64, 4)
    assert not block.qkv.bias.any()
    assert not block.attention_out.bias.any()
    bound = math.sqrt(6 / (64 + 3 * 64))
    assert 0.98 * bound < float(block.qkv.weight.abs().max()) <= bound
    assert float(block.qkv.weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.usefixtures("seeded")
@torch.no_grad()
def test_the_published_start_is_narrow_everywhere_but_in_attention() -> None:
    parts = nn.Sequential(
        Transformer(TransformerConfig(dim=64, depth=1, heads=4)), nn.Linear(64, 64), nn.Conv2d(3, 64, 4), nn.LayerNorm(64)
    )
    init_transformer([parts])
    for name, parameter in parts.named_parameters():
        if "norm" in name or name.startswith("3."):
            assert bool((parameter == float(name.endswith("weight"))).all())
        elif name.endswith("bias"):
            assert not parameter.any()
        elif "qkv" in name:
            assert float(parameter.std()) == pytest.approx(math.sqrt(2 / (64 + 3 * 64)), rel=0.02)
        else:
            assert float(parameter.std()) == pytest.approx(0.02, rel=0.05), name


def test_heads_share_the_width_evenly() -> None:
    with pytest.raises(ValidationError, match="dim 12 is not a multiple of 5 heads"):
        TransformerConfig(dim=12, depth=1, heads=5)
