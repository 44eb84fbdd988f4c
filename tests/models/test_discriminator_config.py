"""Discriminators by what a recipe says of them."""

from typing import Any

import pytest
import torch
from pydantic import BaseModel

from vtok.errors import ConfigError
from vtok.models.discriminators import BlurPoolConfig, BlurPoolDiscriminator, DiscriminatorConfig, PatchConfig, PatchDiscriminator, build
from vtok.models.discriminators.patch import PatchNorm
from vtok.train.config import check


class Holder(BaseModel):
    own: DiscriminatorConfig = PatchConfig()


def config(**settings: Any) -> PatchConfig | BlurPoolConfig:
    return check(Holder, {"own": settings}, "recipe.toml").own


def test_each_kind_is_built_with_its_sizes() -> None:
    assert isinstance(build(PatchConfig(dim=16)), PatchDiscriminator)
    network = build(BlurPoolConfig(dim=64, depth=2))
    assert isinstance(network, BlurPoolDiscriminator)
    assert (network.first.out_channels, network.last.in_channels, len(network.blocks)) == (64, 128, 2)


def test_the_defaults_are_the_published_ones() -> None:
    assert (PatchConfig().dim, PatchConfig().depth) == (64, 3)
    assert (BlurPoolConfig().dim, BlurPoolConfig().depth) == (128, 3)


def test_settings_without_a_kind_are_those_of_patches() -> None:
    assert config() == PatchConfig()
    assert config(dim=32, depth=2) == PatchConfig(dim=32, depth=2)
    assert config(kind="blur_pool", dim=32) == BlurPoolConfig(dim=32)


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_a_patch_discriminator_takes_the_least_side_it_names_and_no_half_of_it(depth: int) -> None:
    own = PatchConfig(dim=16, depth=depth)
    side = own.least_side
    assert build(own)(torch.zeros(1, 3, side, side)).shape == (1, 1, 2, 2)
    with pytest.raises((RuntimeError, ValueError)):
        build(own)(torch.zeros(1, 3, side // 2, side // 2))


def test_a_blur_pool_discriminator_sees_at_the_least_side_it_names_and_is_blind_at_half_of_it() -> None:
    own = BlurPoolConfig(dim=32, depth=1)
    torch.manual_seed(0)
    network = build(own)
    least, half = (network(torch.rand(2, 3, side, side)) for side in (own.least_side, own.least_side // 2))
    assert not torch.allclose(least[0], least[1], atol=1e-3)
    torch.testing.assert_close(half[0], half[1])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dim": 24}, "dim is a multiple of 16 with group norm, got 24"),
        ({"kind": "blur_pool", "dim": 48}, "multiple of 32"),
        ({"kind": "pool"}, "own: .*'patch', 'blur_pool'"),
        ({"kind": "blur_pool", "norm": "group"}, "unknown key own.blur_pool.norm"),
        ({"detph": 2}, r"unknown key own\.patch\.detph; did you mean depth\?"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        config(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("norm", ["spectral", "batch"])
def test_norms_without_groups_take_any_width(norm: PatchNorm) -> None:
    assert config(dim=24, norm=norm) == PatchConfig(dim=24, norm=norm)
