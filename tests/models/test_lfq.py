"""Lookup-free quantization: published values, whole-number ids, entropies without a table of codes."""

import pytest
import torch
from einops import rearrange
from torch import Tensor

from tests.parity import Stored
from vtok.errors import ConfigError
from vtok.models.quantizers.entropy import EntropyConfig, entropy_penalty
from vtok.models.quantizers.lfq import LookupFreeQuantizer

SAMPLE, BATCH = EntropyConfig(batch_weight=0), EntropyConfig(sample_weight=0)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def all_codes(bits: int) -> Tensor:
    """(2**bits, bits), the first component the least significant."""
    return LookupFreeQuantizer(bits).lookup(torch.arange(2**bits)[None, :, None])[0]


@pytest.mark.parity
def test_values_are_those_of_the_published_implementation():
    stored = Stored.load("lfq")
    sizes = stored.config["sizes"]
    probe = rearrange(stored.inputs["probe"], "b d h w -> b (h w) d")
    published = EntropyConfig(
        temperature=sizes["temperature"],
        sample_weight=sizes["sample_minimization_weight"],
        batch_weight=sizes["batch_maximization_weight"],
    )
    quantizer = LookupFreeQuantizer(sizes["bits"], entropy=published)
    for case in ("x", "x_large"):
        images = stored.inputs[case].requires_grad_()
        z = rearrange(images, "b d h w -> b (h w) d")
        quantized = quantizer(z)
        total = 0.1 * quantized.losses["entropy"] + 0.25 * quantized.losses["commitment"] + (quantized.vectors * probe).sum() / 100
        total.backward()
        stored.check(f"{case}/eval/quant", rearrange(quantized.vectors, "b (h w) d -> b d h w", h=sizes["height"]))
        stored.check(f"{case}/eval/ids", quantized.ids.flatten())
        stored.check(f"{case}/train/entropy_aux_loss", quantized.losses["entropy"])
        stored.check(f"{case}/train/per_sample_entropy", LookupFreeQuantizer(sizes["bits"], entropy=SAMPLE)(z).losses["entropy"])
        stored.check(f"{case}/train/codebook_entropy", -LookupFreeQuantizer(sizes["bits"], entropy=BATCH)(z).losses["entropy"])
        stored.check(f"{case}/train/commitment", quantized.losses["commitment"])
        stored.check(f"{case}/train/total", total)
        stored.check_gradients(f"{case}/train/grad/", {"x": images.grad})
    stored.check("decode", rearrange(quantizer.lookup(quantized.ids), "b (h w) d -> b d h w", h=sizes["height"]))
    parts = LookupFreeQuantizer(sizes["bits"], sub_bits=sizes["factorized_bits"])(z).ids.flatten(0, 1)
    stored.check("factorized/ids_pre", parts[:, 0])
    stored.check("factorized/ids_post", parts[:, 1])
    assert not stored.unchecked()


@pytest.mark.parametrize("first_bit", ["least", "most"])
def test_bits_of_an_id_are_in_the_order_asked(first_bit):
    z = torch.tensor([[[1.0, -1.0, -1.0, 0.0]]])  # 0 counts as below
    assert LookupFreeQuantizer(4, first_bit=first_bit)(z).ids.item() == {"least": 1, "most": 8}[first_bit]


def test_sub_tokens_say_together_what_one_id_does():
    z = randn(5, 4, 18)
    parts, whole = LookupFreeQuantizer(18, sub_bits=(6, 12))(z).ids, LookupFreeQuantizer(18)(z).ids[..., 0]
    assert torch.equal(parts[..., 0] + 2**6 * parts[..., 1], whole)


@pytest.mark.parametrize("first_bit", ["least", "most"])
def test_62_bits_are_exact(first_bit):
    quantizer = LookupFreeQuantizer(62, first_bit=first_bit, entropy=None)
    ids = torch.tensor([[[2**62 - 1], [2**53 + 1], [2**25 + 1], [0]]])
    assert torch.equal(quantizer(quantizer.lookup(ids).bfloat16()).ids, ids)


def test_the_order_of_bits_is_part_of_the_codes():
    orders = [LookupFreeQuantizer(4, first_bit=first_bit).state_dict()["strides"].tolist() for first_bit in ("least", "most")]
    assert orders == [[1, 2, 4, 8], [8, 4, 2, 1]]


def test_the_entropy_is_that_over_all_codes():
    z, config = randn(2, 20, 7).requires_grad_(), EntropyConfig(temperature=2.0, sample_weight=0.3)
    found = LookupFreeQuantizer(7, entropy=config)(z).losses["entropy"]
    expected = entropy_penalty(2 * z.flatten(0, 1), all_codes(7), config)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.autograd.grad(found, z), torch.autograd.grad(expected, z), rtol=1e-4, atol=1e-7)


def test_entropies_of_groups_of_bits_bound_that_of_all():
    z = randn(4, 50, 12) @ randn(12, 12, seed=1)
    batch = {joint: -LookupFreeQuantizer(12, entropy=BATCH, joint_bits=joint)(z).losses["entropy"] for joint in (12, 6, 1)}
    assert batch[12] < batch[6] < batch[1]


def test_probabilities_of_all_codes_are_never_held():
    z = randn(2, 256, 18).requires_grad_()
    largest = 0

    def watch(tensor: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(watch, lambda tensor: tensor):
        LookupFreeQuantizer(18)(z).losses["entropy"].backward()
    assert largest <= max(2**18, 512 * 2**9)


def test_eval_mode_has_no_entropy():
    assert list(LookupFreeQuantizer.tiny().eval()(randn(1, 4, 8)).losses) == ["commitment"]


def test_gradients_go_straight_through():
    z = randn(2, 3, 8).requires_grad_()
    LookupFreeQuantizer.tiny()(z).vectors.sum().backward()
    assert torch.equal(z.grad, torch.ones_like(z))


def test_vectors_of_huge_latents_are_still_codes():
    assert torch.equal(LookupFreeQuantizer(3)(torch.tensor([[[1e30, -12345.678, 0.0]]])).vectors, torch.tensor([[[1.0, -1.0, -1.0]]]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sub_bits": (3, 4)}, "add up to the 8"),
        ({"sub_bits": (8, 0)}, "numbers of 1 to 62"),
        ({"joint_bits": 3}, "divide 8"),
    ],
)
def test_bits_that_cannot_be_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        LookupFreeQuantizer(8, **values)


def test_too_many_bits_are_refused():
    with pytest.raises(ConfigError, match="numbers of 1 to 62 that add up to the 63"):
        LookupFreeQuantizer(63, entropy=None)
    with pytest.raises(ConfigError, match=r"entropy of 36 bits together: .* at most 24"):
        LookupFreeQuantizer(36)
