"""The two sides of the adversarial game, and LeCam."""

import math

import pytest
import torch
from safetensors.torch import load_file

from tests.parity import stored_values
from vtok.train.losses.adversarial import ADVERSARIAL_LOSSES, LeCam


@pytest.mark.parity
def test_the_hinge_is_that_of_the_published_implementation():
    folder = stored_values("titok_discriminator")
    outputs = load_file(folder / "outputs.safetensors")
    found = ADVERSARIAL_LOSSES["hinge"].discriminator(outputs["logits"], outputs["logits_odd"])
    torch.testing.assert_close(found, outputs["hinge"], rtol=1e-4, atol=2.2e-5)  # the fixture's own tolerance


def test_the_hinge_leaves_what_is_beyond_the_margin():
    hinge = ADVERSARIAL_LOSSES["hinge"]
    assert float(hinge.discriminator(torch.tensor([[2.0], [0.5]]), torch.tensor([[-3.0], [0.5]]))) == (0.25 + 0.75) / 2
    assert float(hinge.generator(torch.tensor([[-1.0], [3.0]]))) == -1


def test_the_non_saturating_loss_is_that_of_probabilities():
    def probability(logits):
        return 1 / (1 + math.exp(-logits))

    loss = ADVERSARIAL_LOSSES["non_saturating"]
    expected = -(math.log(probability(0.7)) + math.log(1 - probability(-0.3))) / 2
    assert float(loss.discriminator(torch.tensor([0.7]), torch.tensor([-0.3]))) == pytest.approx(expected, rel=1e-6)
    assert float(loss.generator(torch.tensor([-0.3]))) == pytest.approx(-math.log(probability(-0.3)), rel=1e-6)


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_each_side_pulls_its_way(name):
    loss = ADVERSARIAL_LOSSES[name]
    real, fake = torch.zeros(4, 1, 2, 2).requires_grad_(), torch.zeros(4, 1, 2, 2).requires_grad_()
    loss.discriminator(real, fake).backward()
    assert bool((real.grad < 0).all())
    assert bool((fake.grad > 0).all())
    fake.grad = None
    loss.generator(fake).backward()
    assert bool((fake.grad < 0).all())


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_logits_of_any_size_give_finite_float32(name):
    loss = ADVERSARIAL_LOSSES[name]
    logits = torch.tensor([-1e4, 0.0, 1e4]).bfloat16()
    for value in (loss.generator(logits), loss.discriminator(logits, logits)):
        assert value.dtype == torch.float32
        assert bool(value.isfinite())


def test_lecam_measures_from_the_other_sides_mean():
    lecam = LeCam(decay=0.5)
    lecam.update(torch.tensor(4.0), torch.tensor(-2.0))
    assert (float(lecam.real), float(lecam.fake)) == (2, -1)
    assert float(lecam(torch.tensor([1.0, 3.0]), torch.tensor([2.0]))) == (4 + 16) / 2 + 0


def test_lecam_changes_its_means_by_update_alone():
    lecam = LeCam()
    lecam(torch.ones(3), torch.ones(3))
    assert (float(lecam.real), float(lecam.fake)) == (0, 0)
