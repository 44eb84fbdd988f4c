"""Vector quantization: published values, exact search, one table and many."""

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import mse_loss, normalize

from tests.parity import stored_values
from vtok.models.quantizers.codebook_ema import CodebookEma
from vtok.models.quantizers.vq import SphericalVectorQuantizer, VectorQuantizer

KINDS = {"plain": VectorQuantizer, "l2": SphericalVectorQuantizer}
both_kinds = pytest.mark.parametrize("kind", [VectorQuantizer, SphericalVectorQuantizer])


def fixture(name: str) -> tuple[dict, dict, dict]:
    """Weights, inputs, outputs of a published implementation."""
    folder = stored_values(name)
    weights, inputs, outputs = (load_file(folder / f"{part}.safetensors") for part in ("weights", "inputs", "outputs"))
    return weights, inputs, outputs


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parity
@pytest.mark.parametrize("case", KINDS)
def test_gradient_learning_is_that_of_the_published_implementation(case):
    weights, inputs, outputs = fixture("vector_quantizer")
    quantizer = KINDS[case](8, 16)
    quantizer.fill(weights["embedding.weight"])
    z = inputs["z"].flatten(2).transpose(1, 2).requires_grad_()  # (B, D, 1, N) stored
    quantized = quantizer(z)
    loss = 0.25 * quantized.losses["commitment"] + quantized.losses["codebook"]
    assert torch.equal(quantized.ids[..., 0], outputs[f"{case}/ids"][:, 0])
    torch.testing.assert_close(quantized.vectors.mT, outputs[f"{case}/quantized"][:, :, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loss, outputs[f"{case}/quantizer_loss"], rtol=1e-4, atol=1e-6)
    ((quantized.vectors.mT * inputs["upstream_grad"][:, :, 0]).sum() + loss).backward()
    torch.testing.assert_close(z.grad.mT, outputs[f"grad/{case}/z"][:, :, 0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(quantizer.codes.grad[0], outputs[f"grad/{case}/embedding.weight"], rtol=1e-3, atol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("case", ["euclid", "cosine"])
def test_running_means_are_those_of_the_published_implementation(case):
    weights, inputs, outputs = fixture("vq_ema")
    quantizer = {"euclid": VectorQuantizer, "cosine": SphericalVectorQuantizer}[case](6, 12)
    quantizer.fill(weights[f"{case}/embed"])
    ema = CodebookEma(quantizer, 0.8)
    ema.load_state_dict({"counts": weights[f"{case}/cluster_size"], "sums": weights[f"{case}/embed_avg"]})
    for step, x in enumerate(inputs[f"{case}/x"]):
        quantized = quantizer(x)
        assert torch.equal(quantized.ids[..., 0], outputs[f"{case}/step{step}/ids"])
        torch.testing.assert_close(quantized.vectors, outputs[f"{case}/step{step}/quant"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(0.25 * quantized.losses["commitment"], outputs[f"{case}/step{step}/commit_loss"], rtol=1e-4, atol=1e-5)
        ema.update(quantizer, x, quantized.ids)
        torch.testing.assert_close(quantizer.codes.data, outputs[f"{case}/step{step}/embed_after"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ema.counts, outputs[f"{case}/step{step}/cluster_size_after"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ema.sums, outputs[f"{case}/step{step}/embed_avg_after"], rtol=1e-4, atol=1e-5)


@both_kinds
@pytest.mark.parametrize("num_tables", [1, 5])
def test_the_nearest_code_is_found(kind, num_tables):
    quantizer = kind(6, 300, num_tables=num_tables)
    quantizer.fill(randn(num_tables, 300, 6))
    z = randn(70, 5, 6, seed=1)
    distances = torch.cdist(quantizer.place(z.double()).transpose(0, 1), quantizer.place(quantizer.codes.double().expand(5, -1, -1)))
    assert torch.equal(quantizer(z).ids[..., 0], distances.argmin(2).T)


@both_kinds
def test_each_position_has_its_own_table(kind):
    quantizer = kind(4, 8, num_tables=3)
    quantizer.fill(randn(3, 8, 4))
    same = torch.full((1, 3, 1), 2)
    torch.testing.assert_close(quantizer.lookup(same)[0], quantizer.place(quantizer.codes.data[:, 2]), rtol=0, atol=0)


@both_kinds
def test_one_table_given_fills_all(kind):
    quantizer = kind(4, 8, num_tables=3)
    quantizer.fill(randn(8, 4))
    assert torch.equal(quantizer.codes[0], quantizer.codes[2])


def test_a_string_of_another_length_than_the_tables_is_refused():
    with pytest.raises(ValueError, match="tables for 3 latents, got 5"):
        VectorQuantizer(4, 8, num_tables=3)(randn(2, 5, 4))


def test_positions_beyond_a_length_are_zero():
    quantizer = VectorQuantizer.tiny()
    vectors = quantizer.lookup(torch.ones(2, 3, 1, dtype=torch.int64), torch.tensor([1, 2]))
    assert vectors.abs().sum(2).bool().tolist() == [[True, False, False], [True, True, False]]


def test_vectors_and_codes_lie_on_the_sphere():
    quantizer = SphericalVectorQuantizer.tiny()
    torch.testing.assert_close(quantizer(5 * randn(2, 4, 8)).vectors.norm(dim=2), torch.ones(2, 4))


@both_kinds
def test_training_by_gradients_lowers_the_error(kind):
    quantizer = kind(4, 32)
    quantizer.fill(randn(32, 4))
    z = randn(16, 8, 4, seed=1)
    optimizer = torch.optim.Adam([quantizer.codes], 0.03)
    before = quantizer(z).losses["codebook"]
    for _ in range(30):
        optimizer.zero_grad()
        quantizer(z).losses["codebook"].backward()
        optimizer.step()
    assert quantizer(z).losses["codebook"] < 0.8 * before


def test_the_two_losses_reach_one_side_each():
    quantizer, z = VectorQuantizer.tiny(), randn(2, 4, 8).requires_grad_()
    quantizer(z).losses["commitment"].backward()
    assert quantizer.codes.grad is None
    assert z.grad is not None
    z.grad = None
    quantizer(z).losses["codebook"].backward()
    assert quantizer.codes.grad is not None
    assert z.grad is None


def test_lookup_passes_gradients_to_the_codes_taken_alone():
    quantizer = VectorQuantizer.tiny()
    quantizer.lookup(torch.tensor([[[3], [5]]]), torch.tensor([1])).sum().backward()
    assert quantizer.codes.grad[0].abs().sum(1).nonzero().flatten().tolist() == [3]


def test_frozen_codes_have_no_codebook_loss():
    quantizer = VectorQuantizer.tiny()
    quantizer.codes.requires_grad_(False)
    assert list(quantizer(randn(1, 2, 8)).losses) == ["commitment"]


def test_a_zero_latent_on_the_sphere_is_coded_without_nan():
    quantized = SphericalVectorQuantizer.tiny()(torch.zeros(1, 4, 8, dtype=torch.bfloat16))
    assert bool(quantized.vectors.isfinite().all())


def test_losses_are_means_of_squares():
    quantizer, z = SphericalVectorQuantizer.tiny(), randn(2, 4, 8)
    quantized = quantizer(z)
    torch.testing.assert_close(quantized.losses["commitment"], mse_loss(normalize(z, dim=2), quantizer.lookup(quantized.ids)))
