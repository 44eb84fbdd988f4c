"""The convolutional networks of MaskGIT-VQGAN: where a natural implementation would differ from the published weights."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.functional import group_norm, silu

from vtok.models.maskgit_vqgan import MaskgitConfig, MaskgitDecoder, MaskgitEncoder, ResBlock

CONFIG = MaskgitConfig(dim=32, multiples=(1, 2, 1), num_blocks=2, latent_dim=4, codebook_size=16)


def maps(channels: int) -> torch.Tensor:
    return torch.randn(2, channels, 6, 5, generator=torch.Generator().manual_seed(0))


def convolved(block: ResBlock, x: torch.Tensor) -> torch.Tensor:
    h = block.conv1(silu(group_norm(x, 32, block.norm1.weight, block.norm1.bias, 1e-6)))
    return block.conv2(silu(group_norm(h, 32, block.norm2.weight, block.norm2.bias, 1e-6)))


def test_a_block_of_one_width_adds_its_input() -> None:
    torch.manual_seed(0)
    block, x = ResBlock(64, 64), maps(64)
    assert block.shortcut is None
    torch.testing.assert_close(block(x), convolved(block, x) + x)


def test_a_block_that_changes_the_width_adds_a_shortcut_of_what_it_made_and_drops_its_input() -> None:
    torch.manual_seed(0)
    block, x = ResBlock(32, 64), maps(32)
    assert block.shortcut is not None
    assert block.shortcut.weight.shape == (64, 64, 1, 1)
    h = convolved(block, x)
    torch.testing.assert_close(block(x), h + block.shortcut(h))


def test_a_block_leaves_its_input_as_it_is() -> None:
    for width in (32, 64):
        x = maps(32)
        ResBlock(32, width)(x)
        assert torch.equal(x, maps(32))


def test_norms_add_1e_6() -> None:
    networks = nn.ModuleList([MaskgitEncoder(CONFIG), MaskgitDecoder(CONFIG)])
    norms = [module for module in networks.modules() if isinstance(module, nn.GroupNorm)]
    assert len(norms) == 2 * (2 * 2 * 4 + 1)
    assert {(norm.num_groups, norm.eps) for norm in norms} == {(32, 1e-6)}


def test_only_shortcuts_and_convolutions_that_the_published_weights_have_carry_no_bias() -> None:
    without = {
        name.rpartition(".")[2]
        for network in (MaskgitEncoder(CONFIG), MaskgitDecoder(CONFIG))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.bias is None
    }
    assert without == {"conv1", "conv2", "shortcut", "conv_in"}
    assert MaskgitDecoder(CONFIG).conv_in.bias is not None


def test_any_whole_number_of_squares_goes_there_and_back() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 4 * CONFIG.downsample, 3 * CONFIG.downsample)
    latents = MaskgitEncoder(CONFIG)(images)
    assert latents.shape == (2, 4, 4, 3)
    assert MaskgitDecoder(CONFIG)(latents).shape == images.shape


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"multiples": (1, 0)}, "multiples are 1 to 64"),
        ({"multiples": (65,)}, "multiples are 1 to 64"),
        ({"dim": 4096, "multiples": (64,)}, "at most 2,147,483,648 are allowed"),
        ({"latent_dim": 4096, "codebook_size": 2**20}, "at most 2,147,483,648 are allowed"),
    ],
)
def test_sizes_that_no_machine_holds_are_refused(sizes: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MaskgitConfig.model_validate(sizes)
