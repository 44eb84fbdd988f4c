"""Finite scalar quantization: published values, every code reachable, exact integers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tests.parity import stored_values
from vtok.errors import ConfigError
from vtok.models.quantizers.fsq import FiniteScalarQuantizer


@pytest.mark.parity
@pytest.mark.parametrize(("case", "levels"), [("v0", (8, 5, 5, 5)), ("v1", (8, 8, 8)), ("v2", (3, 5))])
def test_values_are_those_of_the_published_implementation(case, levels):
    folder = stored_values("fsq")
    inputs, outputs = load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")
    quantizer = FiniteScalarQuantizer(levels)
    z = inputs[f"{case}/z"].requires_grad_()
    quantized = quantizer(z)
    assert torch.equal(quantized.ids[..., 0], outputs[f"{case}/ids"])
    torch.testing.assert_close(quantized.vectors, outputs[f"{case}/quant"], rtol=1e-4, atol=1e-5)
    (quantized.vectors * inputs[f"{case}/probe"]).sum().backward()
    torch.testing.assert_close(z.grad, outputs[f"{case}/grad/z"], rtol=1e-3, atol=1e-5)
    codebook = outputs[f"{case}/codebook"]
    torch.testing.assert_close(quantizer.lookup(torch.arange(len(codebook))[None, :, None])[0], codebook, rtol=1e-4, atol=1e-5)


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


@given(st.lists(st.integers(3, 16), min_size=1, max_size=6), st.sampled_from([1.0, 1e4, torch.inf]))
def test_latents_of_any_size_stay_within_the_levels(levels, scale):
    quantizer = FiniteScalarQuantizer(levels)
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


def test_the_order_of_levels_is_part_of_the_codes():
    assert not torch.equal(FiniteScalarQuantizer((4, 5)).state_dict()["levels"], FiniteScalarQuantizer((5, 4)).state_dict()["levels"])


def test_positions_beyond_a_length_are_zero():
    vectors = FiniteScalarQuantizer.tiny().lookup(torch.zeros(2, 3, 1, dtype=torch.int64), torch.tensor([1, 2]))
    assert vectors.abs().sum(2).bool().tolist() == [[True, False, False], [True, True, False]]


@pytest.mark.parametrize("levels", [(), (1, 5), (2**31, 2**31, 3)])
def test_levels_that_cannot_be_are_refused(levels):
    with pytest.raises(ConfigError, match=r"at least 2 levels a component, and at most 2\*\*62 codes"):
        FiniteScalarQuantizer(levels)
