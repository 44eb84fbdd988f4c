"""The gradients that latents take from their vectors: published values, and where a direction is missing."""

import pytest
import torch
from torch import Tensor

from tests.parity import Stored
from vtok.models.quantizers.estimators import ESTIMATORS, Estimator, rotated
from vtok.models.quantizers.nearest import assign
from vtok.models.quantizers.vq import VectorQuantizer


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradient(estimator: Estimator, z: Tensor, vectors: Tensor, probe: Tensor) -> Tensor:
    """What z takes from the gradient `probe` of its vectors."""
    z = z.clone().requires_grad_()
    (ESTIMATORS[estimator](z, vectors) * probe).sum().backward()
    assert z.grad is not None
    return z.grad


@pytest.mark.parity
@pytest.mark.parametrize("name", ["rotation_trick"])
def test_the_rotation_is_that_of_the_published_implementation(name):
    stored = Stored.load(name)
    x, codes = stored.inputs["x"].requires_grad_(), stored.inputs["codebook"]
    ids = assign(x, codes)
    out = rotated(x, codes[ids])
    (out * stored.inputs["probe"]).sum().backward()
    stored.check("ids", ids)
    stored.check("out", out)
    stored.check_gradients("grad/", {"x": x.grad})
    assert not stored.unchecked()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-6, 1.0, 1e4, 1e30])
def test_the_vectors_are_returned_as_they_are(estimator, size):
    vectors = randn(5, 4, seed=1)
    assert torch.equal(ESTIMATORS[estimator](size * randn(5, 4), vectors), vectors)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_gradient_passes_to_the_vectors(estimator):
    vectors = randn(5, 4, seed=1).requires_grad_()
    assert not ESTIMATORS[estimator](randn(5, 4), vectors).requires_grad


def test_straight_through_gradients_pass_as_they_are():
    probe = randn(5, 4, seed=2)
    assert torch.equal(gradient("straight_through", randn(5, 4), randn(5, 4, seed=1), probe), probe)


def test_rotated_gradients_keep_their_angle_and_are_stretched():
    z, vectors, probe = randn(5, 4), randn(5, 4, seed=1), randn(5, 4, seed=2)
    found, stretch = gradient("rotation", z, vectors, probe), vectors.norm(dim=1) / z.norm(dim=1)
    torch.testing.assert_close(torch.cosine_similarity(found, z), torch.cosine_similarity(probe, vectors))
    torch.testing.assert_close(found.norm(dim=1), stretch * probe.norm(dim=1))


def test_a_zero_latent_takes_gradients_as_they_are():
    probe = randn(5, 4, seed=2)
    assert torch.equal(gradient("rotation", torch.zeros(5, 4), randn(5, 4, seed=1), probe), probe)


@pytest.mark.parametrize("vectors", [torch.zeros(5, 4), -randn(5, 4)], ids=["zero", "opposite"])
def test_gradients_are_finite_where_there_is_no_middle(vectors):
    assert bool(gradient("rotation", randn(5, 4), vectors, randn(5, 4, seed=2)).isfinite().all())


def test_a_quantizer_takes_the_estimator_asked_for():
    codes, z, probe = randn(16, 8), randn(2, 4, 8, seed=1), randn(2, 4, 8, seed=2)
    for name in ESTIMATORS:
        quantizer, latents = VectorQuantizer(8, 16, estimator=name), z.clone().requires_grad_()
        quantizer.fill(codes)
        quantized = quantizer(latents)
        (quantized.vectors * probe).sum().backward()
        torch.testing.assert_close(latents.grad, gradient(name, z, quantizer.lookup(quantized.ids).detach(), probe))
        assert torch.equal(quantized.vectors, quantizer.lookup(quantized.ids))
