"""Levels behind one another: what each codes, how they are put together, what a prefix of levels is."""

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.models.quantizers import Quantizer
from vtok.models.quantizers.cascade import CascadedQuantizer
from vtok.models.quantizers.maps import as_latents, as_map
from vtok.models.quantizers.vq import VectorQuantizer


def randn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pooled(levels: int = 2) -> CascadedQuantizer:
    """The map itself, and averages of 2 x 2 cells of what is left of the level before, all of them plain tables."""
    down = [nn.Identity(), *(nn.AvgPool2d(2) for _ in range(levels - 1))]
    up = [nn.Identity(), *(nn.Upsample(scale_factor=2) for _ in range(levels - 1))]
    tables = [VectorQuantizer(3, 16) for _ in range(levels)]
    for k, table in enumerate(tables):
        table.fill(randn(16, 3, seed=10 + k) / 2**k)
    return CascadedQuantizer(3, (4, 8), tables, down, up)


def test_a_level_codes_what_the_one_before_has_left() -> None:
    quantizer, z = pooled(), randn(2, 32, 3)
    first, second = quantizer.learned_tables()
    quantized = quantizer(z)
    near = first(z)
    deep = second(as_latents(nn.AvgPool2d(2)(as_map(z - near.vectors.detach(), (4, 8)))))
    assert torch.equal(quantized.ids, torch.cat([near.ids, deep.ids], 1))
    torch.testing.assert_close(quantized.vectors, near.vectors + as_latents(nn.Upsample(scale_factor=2)(as_map(deep.vectors, (2, 4)))))


def test_positions_are_those_of_all_levels_the_finest_first() -> None:
    quantizer = pooled(3)
    assert quantizer.prefix_lengths(32) == (32, 40, 42)
    assert quantizer.num_positions(32) == 42
    with pytest.raises(ValueError, match="codes maps of 32 latents, got 16"):
        quantizer.num_positions(16)


def test_levels_that_a_string_lacks_add_nothing() -> None:
    quantizer, z = CascadedQuantizer.tiny(), randn(3, 16, 8)
    ids = quantizer(z).ids
    first = cast(Quantizer, quantizer.quantizers[0])
    alone = as_latents(quantizer.up[0](as_map(first.lookup(ids[:, :16]), (4, 4))))
    cut = quantizer.lookup(ids, torch.tensor([16, 19, 20]))
    torch.testing.assert_close(cut[:2], alone[:2])
    torch.testing.assert_close(cut[2], quantizer.lookup(ids)[2])
    torch.testing.assert_close(quantizer.lookup(ids[:, :16]), alone)


def test_the_deepest_level_is_taken_up_through_all_others() -> None:
    quantizer, z = pooled(3), randn(2, 32, 3)
    ids = quantizer(z).ids
    own = zip(quantizer.learned_tables(), quantizer.levels(ids), quantizer.sizes, strict=True)
    near, middle, deep = (as_map(table.lookup(rows), size) for table, rows, size in own)
    double = nn.Upsample(scale_factor=2)
    expected = near + double(middle + double(deep))
    torch.testing.assert_close(quantizer.lookup(ids), as_latents(expected))


def test_tables_learn_from_the_maps_of_their_level() -> None:
    quantizer, z = pooled(3), randn(2, 32, 3)
    for table, (latents, rows) in zip(quantizer.learned_tables(), quantizer.coded(z, quantizer(z).ids), strict=True):
        assert torch.equal(table(latents).ids, rows)


def test_gradients_reach_both_ways_of_every_level():
    quantizer, z = CascadedQuantizer.tiny().train(), randn(3, 16, 8).requires_grad_()
    quantizer(z).vectors.square().sum().backward()
    assert all(bool(parameter.grad.any()) for parameter in quantizer.parameters())
    assert bool(z.grad.any())


def test_what_contradicts_itself_is_refused() -> None:
    table, other = VectorQuantizer(3, 16), VectorQuantizer(3, 8)
    with pytest.raises(ConfigError, match="got 2, 1 and 1"):
        CascadedQuantizer(3, (4, 4), [table, table], [nn.Identity()], [nn.Identity()])
    with pytest.raises(ConfigError, match="the same codebook sizes"):
        CascadedQuantizer(3, (4, 4), [table, other], [nn.Identity()] * 2, [nn.Identity()] * 2)
