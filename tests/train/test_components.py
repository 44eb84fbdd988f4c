"""Principal components under a metric."""

import pytest
import torch
from torch import Tensor

from vtok.train.closed_form.components import Components, principal_components
from vtok.train.closed_form.metric import roots

DIM = 6
UNIT = torch.eye(DIM, dtype=torch.float64)


def tiles(count: int = 500) -> Tensor:
    """Correlated, with a mean, of very different variances."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(DIM, DIM, generator=generator) * torch.tensor([5.0, 3.0, 2.0, 1.0, 0.5, 0.1])[:, None]
    return torch.randn(count, DIM, generator=generator) @ mix + torch.arange(6.0)


@pytest.fixture
def metric() -> Tensor:
    factor = torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return factor @ factor.T


def fitted(num_components: int, metric: Tensor | None = None) -> tuple[Components, Tensor, Tensor, Tensor]:
    """Components, the tiles, and both roots of the metric, whose floor is next to nothing."""
    root, inverse = (UNIT, UNIT) if metric is None else roots(metric, 1e-9)
    return principal_components(tiles(), num_components, root, inverse), tiles(), root, inverse


def seen(components: Components, z: Tensor) -> Tensor:
    return (z - components.mean) @ components.analysis.T


def shown(components: Components, y: Tensor) -> Tensor:
    return components.mean + y @ components.synthesis.T


def test_the_shapes_are_those_of_the_components_kept() -> None:
    components, *_ = fitted(4)
    assert (components.mean.shape, components.analysis.shape, components.synthesis.shape) == ((6,), (4, 6), (6, 4))
    assert {x.dtype for x in (components.mean, components.analysis, components.synthesis)} == {torch.float32}


def test_more_components_than_there_are_give_all() -> None:
    assert fitted(100)[0].analysis.shape == (6, 6)


def test_all_components_lose_nothing(metric: Tensor) -> None:
    components, z, *_ = fitted(DIM, metric)
    torch.testing.assert_close(shown(components, seen(components, z)), z, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("with_metric", [False, True])
def test_components_are_uncorrelated_and_of_falling_variance(metric: Tensor, with_metric: bool) -> None:
    components, z, *_ = fitted(DIM, metric if with_metric else None)
    covariance = torch.cov(seen(components, z).double().T, correction=0)
    variances = covariance.diag()
    assert variances.tolist() == sorted(variances.tolist(), reverse=True)
    assert float((covariance - variances.diag()).abs().max()) < 1e-3 * float(variances[0])


def test_without_a_metric_they_are_those_of_the_covariance() -> None:
    components, z, *_ = fitted(3)
    values, vectors = torch.linalg.eigh(torch.cov(z.double().T, correction=0))
    torch.testing.assert_close(seen(components, z).double().var(0, correction=0), values.flip(0)[:3], rtol=1e-4, atol=1e-4)
    alike = (components.analysis.double() @ vectors.flip(1)[:, :3]).abs()
    torch.testing.assert_close(alike, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-3)


def test_an_error_of_components_is_the_error_under_the_metric(metric: Tensor) -> None:
    components, z, *_ = fitted(DIM, metric)
    y = seen(components, z)
    other = y + torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    gap = (shown(components, other) - shown(components, y)).double()
    under_metric = torch.einsum("nd,de,ne->n", gap, metric, gap)
    torch.testing.assert_close(under_metric, (other - y).double().square().sum(1), rtol=1e-3, atol=1e-3)


def test_the_first_components_lose_least_under_the_metric(metric: Tensor) -> None:
    """No linear projection of rank 2 does better than the sum of the other eigenvalues."""
    components, z, root, _ = fitted(2, metric)
    gap = (z - shown(components, seen(components, z))).double()
    lost = float(torch.einsum("nd,de,ne->n", gap, metric, gap).mean())
    values = torch.linalg.eigvalsh(root @ torch.cov(z.double().T, correction=0) @ root)
    assert lost == pytest.approx(float(values[:-2].sum()), rel=1e-3)


def test_the_metric_matters(metric: Tensor) -> None:
    plain, z, *_ = fitted(2)
    gap = (z - shown(plain, seen(plain, z))).double()
    lost = float(torch.einsum("nd,de,ne->n", gap, metric, gap).mean())
    aware, *_ = fitted(2, metric)
    gap = (z - shown(aware, seen(aware, z))).double()
    assert float(torch.einsum("nd,de,ne->n", gap, metric, gap).mean()) < lost


def test_the_tiles_given_become_their_difference_from_the_mean() -> None:
    z = tiles()
    mean = z.mean(0)
    components = principal_components(z, 2, UNIT, UNIT)
    torch.testing.assert_close(components.mean, mean)
    torch.testing.assert_close(z, tiles() - mean)


def test_signs_are_fixed() -> None:
    first = principal_components(tiles(), DIM, UNIT, UNIT)
    assert bool((first.analysis.sum(1) > 0).all())
    turned = principal_components(-tiles(), DIM, UNIT, UNIT)
    torch.testing.assert_close(first.analysis, turned.analysis, rtol=1e-3, atol=1e-3)


def test_tiles_that_never_differ_have_finite_components() -> None:
    components = principal_components(torch.ones(10, DIM), 3, UNIT, UNIT)
    assert all(bool(x.isfinite().all()) for x in (components.mean, components.analysis, components.synthesis))
