"""What a continuous latent costs."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vtok.train.losses.kl import kl


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_token_costs_the_sum_over_its_components() -> None:
    mean, logvar = randn(2, 5, 4), randn(2, 5, 4, seed=1)
    expected = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(0, 1)).sum(2)
    torch.testing.assert_close(kl(mean, logvar), expected)


def test_the_unit_normal_costs_nothing() -> None:
    assert kl(torch.zeros(1, 3, 2), torch.zeros(1, 3, 2)).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(("logvar", "bound"), [(-1e4, -30.0), (1e4, 20.0)])
def test_wild_variances_are_bounded(logvar: float, bound: float) -> None:
    wild, mild = (kl(torch.ones(1, 1, 2), torch.full((1, 1, 2), value)) for value in (logvar, bound))
    assert torch.equal(wild, mild)
    assert bool(wild.isfinite().all())


def test_bfloat16_is_taken_in_float32() -> None:
    mean, logvar = randn(2, 3, 4).bfloat16(), randn(2, 3, 4, seed=1).bfloat16()
    assert torch.equal(kl(mean, logvar), kl(mean.float(), logvar.float()))


def test_gradients_pull_toward_the_unit_normal() -> None:
    mean, logvar = randn(2, 3, 4).requires_grad_(), randn(2, 3, 4, seed=1).requires_grad_()
    kl(mean, logvar).sum().backward()
    torch.testing.assert_close(mean.grad, mean.detach())
    torch.testing.assert_close(logvar.grad, (logvar.detach().exp() - 1) / 2)
