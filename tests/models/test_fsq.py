"""Finite scalar quantization: published values, every code reachable, exact integers."""

import pytest
import torch
from einops import rearrange
from hypothesis import given
from hypothesis import strategies as st

from tests.parity import Stored
from vtok.errors import ConfigError
from vtok.models.quantizers.fsq import FiniteScalarQuantizer, SymmetricScalarQuantizer

both_kinds = pytest.mark.parametrize("kind", [FiniteScalarQuantizer, SymmetricScalarQuantizer])


@pytest.mark.parity
def test_values_are_those_of_the_published_implementation():
    stored = Stored.load("fsq")
    for number, variant in enumerate(stored.config["sizes"]["variants"]):
        case = f"v{number}"
        quantizer = (SymmetricScalarQuantizer if variant["preserve_symmetry"] else FiniteScalarQuantizer)(variant["levels"])
        z = stored.inputs[f"{case}/z"].requires_grad_()
        quantized = quantizer(z)
        (quantized.vectors * stored.inputs[f"{case}/probe"]).sum().backward()
        stored.check(f"{case}/ids", quantized.ids[..., 0])
        stored.check(f"{case}/level_ids", quantized.ids // quantizer.strides % quantizer.levels)
        stored.check(f"{case}/quant", quantized.vectors)
        stored.check_gradients(f"{case}/grad/", {"z": z.grad})
        stored.check(f"{case}/decode", quantizer.lookup(quantized.ids))
        stored.check(f"{case}/codebook", quantizer.lookup(torch.arange(quantizer.codebook_sizes[0])[None, :, None])[0])
        image = stored.inputs[f"{case}/z_image"]
        quantized, height = quantizer(rearrange(image, "b d h w -> b (h w) d")), image.shape[2]
        stored.check(f"{case}/image/quant", rearrange(quantized.vectors, "b (h w) d -> b d h w", h=height))
        stored.check(f"{case}/image/ids", rearrange(quantized.ids, "b (h w) 1 -> b h w", h=height))
    assert not stored.unchecked()


@given(st.lists(st.integers(3, 9), min_size=1, max_size=5), st.data())
def test_a_code_looks_up_to_a_latent_that_has_it(levels, data):
    quantizer = FiniteScalarQuantizer(levels)
    chosen = data.draw(st.lists(st.integers(0, quantizer.codebook_sizes[0] - 1), min_size=1, max_size=8))
    ids = torch.tensor(chosen)[None, :, None]
    steps = quantizer.lookup(ids) * (quantizer.levels // 2)
    half = (quantizer.levels - 1) * 1.001 / 2
    offset = (quantizer.levels % 2 == 0) * 0.5
    z = torch.atanh((steps + offset) / half) - torch.atanh(offset / half)
    assert torch.equal(quantizer(z).ids, ids)


@both_kinds
@given(levels=st.lists(st.integers(2, 16), min_size=1, max_size=6), scale=st.sampled_from([1.0, 1e4, torch.inf]))
def test_latents_of_any_size_stay_within_the_levels(kind, levels, scale):
    quantizer = kind(levels)
    z = torch.tensor([-scale, 0.0, scale]).bfloat16()[None, :, None].expand(1, 3, len(levels))
    quantized = quantizer(z)
    assert bool(((quantized.ids >= 0) & (quantized.ids < quantizer.codebook_sizes[0])).all())
    assert bool(quantized.vectors.isfinite().all())
    assert quantized.ids[0, :, 0].tolist() == sorted(quantized.ids[0, :, 0].tolist())


def test_ids_of_large_products_are_exact():
    quantizer = FiniteScalarQuantizer([16] * 15)  # 2**60 codes
    ids = torch.tensor([[[2**60 - 1], [2**53 + 1], [0]]])
    digits = (quantizer.lookup(ids) * 8 + 8).long()
    assert ((digits * 16 ** torch.arange(15)).sum(2)[0]).tolist() == ids[0, :, 0].tolist()


@given(st.integers(2, 16))
def test_symmetric_levels_are_evenly_apart_from_one_end_to_the_other(levels):
    values = SymmetricScalarQuantizer([levels]).lookup(torch.arange(levels)[None, :, None]).flatten()
    torch.testing.assert_close(values, torch.linspace(-1, 1, levels))


@given(st.integers(2, 16))
def test_a_symmetric_level_is_the_nearest(levels):
    quantizer = SymmetricScalarQuantizer([levels])
    bounded = torch.linspace(-0.999, 0.999, 50)  # no tie among them
    values = torch.linspace(-1, 1, levels)
    assert torch.equal(quantizer(bounded.atanh()[None, :, None]).ids.flatten(), (bounded[:, None] - values).abs().argmin(1))


def test_the_order_of_levels_is_part_of_the_codes():
    assert not torch.equal(FiniteScalarQuantizer((4, 5)).state_dict()["levels"], FiniteScalarQuantizer((5, 4)).state_dict()["levels"])


def test_positions_beyond_a_length_are_zero():
    vectors = FiniteScalarQuantizer.tiny().lookup(torch.zeros(2, 3, 1, dtype=torch.int64), torch.tensor([1, 2]))
    assert vectors.abs().sum(2).bool().tolist() == [[True, False, False], [True, True, False]]


@pytest.mark.parametrize("levels", [(), (1, 5), (2**31, 2**31, 3)])
def test_levels_that_cannot_be_are_refused(levels):
    with pytest.raises(ConfigError, match=r"at least 2 levels a component, and at most 2\*\*62 codes"):
        FiniteScalarQuantizer(levels)
