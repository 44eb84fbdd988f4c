"""Vector quantization: published values, exact search, one table and many."""

import pytest
import torch
from einops import rearrange
from torch.nn.functional import mse_loss, normalize, one_hot

from tests.parity import Stored
from vtok.models.quantizers.codebook_ema import CodebookEma
from vtok.models.quantizers.entropy import EntropyConfig, entropy_penalty
from vtok.models.quantizers.vq import SphericalVectorQuantizer, VectorQuantizer

KINDS = {
    "plain": VectorQuantizer,
    "l2": SphericalVectorQuantizer,
    "cluster": VectorQuantizer,  # a forward pass before the codes are moved
    "cluster_l2": SphericalVectorQuantizer,
}
both_kinds = pytest.mark.parametrize("kind", [VectorQuantizer, SphericalVectorQuantizer])


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parity
@pytest.mark.parametrize("case", [pytest.param(case, id=f"vector_quantizer-{case}") for case in KINDS])
def test_gradient_learning_is_that_of_the_published_implementation(case):
    stored = Stored.load("vector_quantizer")
    sizes = stored.config["sizes"]
    quantizer = KINDS[case](sizes["token_size"], sizes["codebook_size"])
    quantizer.fill(stored.weights["embedding.weight"])
    images = stored.inputs["z"].requires_grad_()  # (B, D, 1, N)
    quantized = quantizer(rearrange(images, "b d 1 n -> b n d"))
    vectors = rearrange(quantized.vectors, "b n d -> b d 1 n")
    commitment, codebook = sizes["commitment_cost"] * quantized.losses["commitment"], quantized.losses["codebook"]
    ((vectors * stored.inputs["upstream_grad"]).sum() + commitment + codebook).backward()
    stored.check(f"{case}/ids", rearrange(quantized.ids, "b n 1 -> b 1 n"))
    stored.check(f"{case}/quantized", vectors)
    stored.check(f"{case}/commitment_loss", commitment)
    stored.check(f"{case}/codebook_loss", codebook)
    stored.check(f"{case}/quantizer_loss", commitment + codebook)
    stored.check_gradients(f"grad/{case}/", {"z": images.grad, "embedding.weight": quantizer.codes.grad[0]})


@pytest.mark.parity
@pytest.mark.parametrize("case", [pytest.param(case, id=f"vector_quantizer-{case}") for case in ("plain", "l2")])
def test_soft_choices_are_those_of_the_published_implementation(case):
    stored = Stored.load("vector_quantizer")
    sizes = stored.config["sizes"]
    quantizer = KINDS[case](sizes["token_size"], sizes["codebook_size"])
    quantizer.fill(stored.weights["embedding.weight"])
    stored.check(f"{case}/soft_entry", quantizer.mix(stored.inputs["soft_indices"]))


@pytest.mark.parity
@pytest.mark.parametrize("name", ["vq_ema"])
def test_running_means_are_those_of_the_published_implementation(name):
    stored = Stored.load(name)
    for case, kind in {"euclid": VectorQuantizer, "cosine": SphericalVectorQuantizer}.items():
        quantizer = kind(6, 12)
        quantizer.fill(stored.weights[f"{case}/embed"])
        first = quantizer(stored.inputs[f"{case}/x"][0])
        stored.check(f"{case}/eval/ids", first.ids[..., 0])
        stored.check(f"{case}/eval/quant", first.vectors)
        ema = CodebookEma(quantizer, stored.config["sizes"]["decay"])
        ema.load_state_dict({"counts": stored.weights[f"{case}/cluster_size"], "sums": stored.weights[f"{case}/embed_avg"]})
        for step, x in enumerate(stored.inputs[f"{case}/x"]):
            quantized = quantizer(x.requires_grad_())
            commitment = stored.config["sizes"]["commitment_weight"] * quantized.losses["commitment"]
            (gradient,) = torch.autograd.grad(commitment + 0.01 * quantized.vectors.sum(), x)
            stored.check(f"{case}/step{step}/ids", quantized.ids[..., 0])
            stored.check(f"{case}/step{step}/quant", quantized.vectors)
            stored.check(f"{case}/step{step}/commit_loss", commitment)
            stored.check(f"{case}/step{step}/grad/x", gradient)
            ema.update(quantizer, x, quantized.ids)
            stored.check(f"{case}/step{step}/embed_after", quantizer.codes.data)
            stored.check(f"{case}/step{step}/cluster_size_after", ema.counts)
            stored.check(f"{case}/step{step}/embed_avg_after", ema.sums)
    assert not stored.unchecked()


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


@both_kinds
def test_a_hard_choice_is_the_code_itself(kind):
    quantizer = kind(4, 8)
    quantizer.fill(randn(8, 4))
    ids = torch.tensor([[[3], [7]], [[0], [3]]])
    torch.testing.assert_close(quantizer.mix(one_hot(ids[..., 0], 8).bfloat16()), quantizer.lookup(ids))


def test_soft_choices_pass_gradients_to_weights_and_codes():
    quantizer, weights = VectorQuantizer.tiny(), randn(2, 3, 16).softmax(2).requires_grad_()
    quantizer.mix(weights).square().sum().backward()
    assert bool(quantizer.codes.grad.any())
    assert bool(weights.grad.any())


def test_soft_choices_among_tables_of_their_own_are_refused():
    with pytest.raises(ValueError, match="among the codes of one table, there are 4"):
        SphericalVectorQuantizer.tiny().mix(torch.ones(1, 4, 16))


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


@both_kinds
@pytest.mark.parametrize("num_tables", [1, 3])
def test_the_entropy_is_that_of_squared_distances(kind, num_tables):
    config = EntropyConfig(temperature=0.5)
    quantizer, z = kind(4, 8, num_tables=num_tables, entropy=config), randn(5, 3, 4)
    points = quantizer.place(z).transpose(0, 1) if num_tables > 1 else quantizer.place(z).flatten(0, 1)[None]
    squares = torch.cdist(points, quantizer.compared()).square()
    expected = torch.stack([entropy_penalty(own, torch.eye(8), config) for own in -squares]).mean()
    torch.testing.assert_close(quantizer(z).losses["entropy"], expected, rtol=1e-4, atol=1e-5)


@both_kinds
def test_the_entropy_reaches_latents_and_codes(kind):
    quantizer, z = kind(4, 8, entropy=EntropyConfig(temperature=0.5)), randn(5, 3, 4).requires_grad_()
    quantizer(z).losses["entropy"].backward()
    assert bool(z.grad.abs().sum() > 0)
    assert bool(quantizer.codes.grad.abs().sum() > 0)


def test_there_is_an_entropy_only_where_asked_for_and_in_training():
    asked = VectorQuantizer(4, 8, entropy=EntropyConfig())
    assert list(asked(randn(1, 2, 4)).losses) == ["commitment", "codebook", "entropy"]
    assert list(asked.eval()(randn(1, 2, 4)).losses) == ["commitment", "codebook"]
    assert list(VectorQuantizer(4, 8)(randn(1, 2, 4)).losses) == ["commitment", "codebook"]


@both_kinds
@pytest.mark.parametrize("size", [0.0, 1e4])
def test_the_entropy_is_finite_for_latents_of_any_size(kind, size):
    quantizer, z = kind(4, 8, entropy=EntropyConfig()), (size * randn(5, 3, 4)).requires_grad_()
    value = quantizer(z).losses["entropy"]
    value.backward()
    assert bool(value.isfinite())
    assert bool(z.grad.isfinite().all())
