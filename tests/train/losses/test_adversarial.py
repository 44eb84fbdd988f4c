"""The two sides of the adversarial game, and LeCam."""

import math

import pytest
import torch
from torch import Tensor

from vtok.train.losses.adversarial import ADVERSARIAL_LOSSES, LeCam


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


class TestLeCam:
    @staticmethod
    def lecam(real: float = 0.4, fake: float = -0.2) -> LeCam:
        made = LeCam(decay=0.75)
        made.load_state_dict({"real": torch.tensor(real), "fake": torch.tensor(fake)})
        return made

    @staticmethod
    def logits(*values: float) -> Tensor:
        return torch.tensor(values).view(-1, 1, 1, 1)

    def test_means_come_first_and_then_their_distances_are_squared(self):
        found = self.lecam()(self.logits(-1.0, 2.0), self.logits(-0.5, 0.1))
        assert float(found) == pytest.approx((0.5 + 0.2) ** 2 + (0.4 + 0.2) ** 2, rel=1e-6)

    @pytest.mark.parametrize(("real", "fake", "expected"), [(-0.3, -0.1, 0.25), (0.1, 0.5, 0.09), (-0.3, 0.5, 0.0)])
    def test_what_does_not_tell_the_sides_apart_costs_nothing(self, real, fake, expected):
        assert float(self.lecam()(self.logits(real), self.logits(fake))) == pytest.approx(expected, rel=1e-5, abs=1e-9)

    def test_a_step_counts_from_the_means_before_it(self):
        lecam = self.lecam()
        first, again = (float(lecam(self.logits(1.0), self.logits(-1.0))) for _ in range(2))
        assert first == again
        lecam.after_step()
        assert float(lecam.real) == pytest.approx(0.75 * 0.4 + 0.25 * 1.0)
        assert float(lecam.fake) == pytest.approx(0.75 * -0.2 + 0.25 * -1.0)
        assert float(lecam(self.logits(1.0), self.logits(-1.0))) != first

    def test_batches_of_one_step_move_the_means_once_by_their_mean(self):
        lecam = self.lecam()
        for real, fake in ((1.0, -3.0), (2.0, -1.0)):
            lecam(self.logits(real), self.logits(fake))
        lecam.after_step()
        assert float(lecam.real) == pytest.approx(0.75 * 0.4 + 0.25 * 1.5)
        assert float(lecam.fake) == pytest.approx(0.75 * -0.2 + 0.25 * -2.0)

    def test_a_batch_computed_twice_for_its_gradients_counts_once(self):
        moved = []
        for times in (1, 2):
            lecam = self.lecam()
            for _ in range(times):
                lecam(self.logits(1.0), self.logits(-3.0))
            lecam.after_step()
            moved.append([float(lecam.real), float(lecam.fake)])
        assert moved[0] == moved[1]

    def test_looking_without_training_moves_no_mean(self):
        lecam, before = self.lecam(), self.lecam().state_dict()
        lecam.after_step()
        lecam.eval()(self.logits(5.0), self.logits(-7.0))
        lecam.after_step()
        with torch.no_grad():
            lecam.train()(self.logits(5.0), self.logits(-7.0))
        lecam.after_step()
        assert before.keys() == {"real", "fake"}
        assert all(torch.equal(value, before[name]) for name, value in lecam.state_dict().items())

    def test_gradients_pull_both_means_together(self):
        real, fake = self.logits(1.0, 0.6).requires_grad_(), self.logits(-1.0, -0.6).requires_grad_()
        self.lecam()(real, fake).backward()
        torch.testing.assert_close(real.grad, torch.full_like(real, 2 * (0.8 + 0.2) / 2))
        torch.testing.assert_close(fake.grad, torch.full_like(fake, -2 * (0.4 + 0.8) / 2))

    def test_processes_share_the_means_and_each_has_gradients_of_its_own(self, monkeypatch):
        """What two processes average is what one with both batches has."""
        logits = torch.tensor([[1.0, 0.5, 0.7, 0.2], [-1.0, -0.3, -0.6, 0.1]])  # of images, of pictures
        loss, gradient, means = self.trained(logits)
        own_means = torch.stack([half.mean(1) for half in logits.chunk(2, 1)])
        monkeypatch.setattr("vtok.train.losses.adversarial.gathered", lambda _: own_means)
        parts = [self.trained(half) for half in logits.chunk(2, 1)]
        for own_loss, _, moved in parts:
            torch.testing.assert_close(own_loss, loss)
            torch.testing.assert_close(moved, means)
        torch.testing.assert_close(torch.cat([own for _, own, _ in parts], 1) / 2, gradient)  # the mean over processes

    def trained(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, its gradient (2, B) and both running means after a step on the logits (2, B) of images and pictures."""
        lecam, logits = self.lecam(), logits.clone().requires_grad_()
        loss = lecam(*logits)
        (gradient,) = torch.autograd.grad(loss, logits)
        lecam.after_step()
        return loss.detach(), gradient, torch.stack([lecam.real, lecam.fake])

    def test_bfloat16_logits_are_averaged_in_float32(self):
        real, fake = torch.rand(3, 1, 4, 4).bfloat16(), -torch.rand(3, 1, 4, 4).bfloat16()
        assert torch.equal(self.lecam()(real, fake), self.lecam()(real.float(), fake.float()))

    def test_compiling_changes_no_value_and_batches_of_a_step_need_no_further_graph(self):
        plain, compiled = self.lecam(), self.lecam()
        graphs = []
        compiled.compile(backend=lambda graph, _: graphs.append(graph) or graph.forward, dynamic=False)
        for real, fake in ((1.0, -3.0), (2.0, -1.0), (0.5, -0.5)):
            own = self.logits(real).requires_grad_(), self.logits(fake).requires_grad_()
            assert float(compiled(*own).detach()) == pytest.approx(float(plain(*own).detach()))
        for lecam in (plain, compiled):
            lecam.after_step()
        torch.testing.assert_close(compiled.state_dict(), plain.state_dict())
        assert len(graphs) == 1
