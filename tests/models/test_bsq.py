"""Binary spherical quantization: published values, with the sphere and without."""

import pytest
import torch
from torch.nn.functional import normalize

from tests.parity import Stored
from vtok.models.quantizers.bits import mean_joint
from vtok.models.quantizers.bsq import BinarySphericalQuantizer
from vtok.models.quantizers.entropy import EntropyConfig
from vtok.models.quantizers.lfq import LookupFreeQuantizer


@pytest.mark.parity
def test_values_are_those_of_the_published_implementation():
    stored = Stored.load("bsq")
    dim, probe = stored.config["sizes"]["embed_dim"], stored.inputs["probe"]
    for number, variant in enumerate(stored.config["sizes"]["variants"]):
        case, temperature = f"v{number}", 1 / variant["it"]
        kind = BinarySphericalQuantizer if variant["l2"] else LookupFreeQuantizer
        joint_bits = 1 if variant["ps"] == "analytical" else variant["group"]
        z = stored.inputs["z_raw"].clone().requires_grad_()

        def made(sample: float, batch: float, kind=kind, joint_bits=joint_bits, temperature=temperature) -> LookupFreeQuantizer:
            config = EntropyConfig(temperature=temperature, sample_weight=sample, batch_weight=batch)
            return kind(dim, first_bit="most", entropy=config, joint_bits=joint_bits)

        quantizer = made(variant["gamma0"], variant["gamma"])
        quantized = quantizer(z)
        commitment = variant["beta"] * dim * quantized.losses["commitment"]  # published: a sum over the components
        loss = commitment + variant["zeta"] * temperature * quantized.losses["entropy"]
        total = loss + (quantized.vectors * probe).sum() / 100
        total.backward()
        stored.check(f"{case}/eval/quant", quantized.vectors)
        stored.check(f"{case}/eval/ids", quantized.ids[..., 0])
        stored.check(f"{case}/eval/n_used", len(quantized.ids.unique()))
        groups = (variant["group"],) * (dim // variant["group"])
        stored.check(f"{case}/eval/group_ids", kind(dim, first_bit="most", sub_bits=groups)(z).ids)
        stored.check(f"{case}/eval/loss", loss)
        stored.check(f"{case}/train/loss", loss)
        stored.check(f"{case}/train/per_sample_entropy", made(1, 0)(z).losses["entropy"])
        stored.check(f"{case}/train/codebook_entropy", -made(0, 1)(z).losses["entropy"])
        odds = 4 * quantizer.size * variant["it"] * quantizer.place(z).flatten(0, 1)
        stored.check(f"{case}/train/avg_prob", mean_joint(odds.unflatten(1, (-1, joint_bits))))
        stored.check(f"{case}/train/total", total)
        stored.check_gradients(f"{case}/train/grad/", {"z_raw": z.grad})
        stored.check(f"{case}/decode", quantizer.lookup(quantized.ids))
    assert not stored.unchecked()


def test_codes_lie_on_the_sphere():
    vectors = BinarySphericalQuantizer(36)(torch.randn(2, 3, 36, generator=torch.Generator().manual_seed(0))).vectors
    torch.testing.assert_close(vectors.norm(dim=2), torch.ones(2, 3))


def test_the_size_of_a_latent_says_nothing():
    z, quantizer = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)), BinarySphericalQuantizer(8)
    small, large = quantizer(z), quantizer(100 * z)
    assert torch.equal(small.ids, large.ids)
    torch.testing.assert_close(small.losses, large.losses)


def test_the_nearest_code_is_taken():
    z = normalize(torch.randn(50, 1, 6, generator=torch.Generator().manual_seed(0)), dim=-1)
    quantizer = BinarySphericalQuantizer(6)
    codes = quantizer.lookup(torch.arange(64)[None, :, None])[0]
    assert torch.equal(quantizer(z).ids.flatten(), torch.cdist(z[:, 0], codes).argmin(1))


def test_latents_too_large_for_a_length_keep_their_signs():
    quantized = BinarySphericalQuantizer(2)(torch.tensor([[[1e30, -1e30]]]))
    assert quantized.ids.item() == 2
    assert all(bool(value.isfinite()) for value in quantized.losses.values())
