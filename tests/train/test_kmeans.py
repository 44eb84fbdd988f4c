"""k-means codebooks."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vtok.models.quantizers.nearest import assign
from vtok.train.closed_form.kmeans import kmeans


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(count: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dim, generator=seeded(seed))


def error(points: Tensor, codes: Tensor) -> float:
    return float((points - codes[assign(points, codes)]).square().sum(1).mean())


@given(count=st.integers(1, 40), num_codes=st.integers(1, 12), dim=st.integers(1, 4), seed=st.integers(0, 99))
@settings(deadline=None)
def test_a_point_goes_to_its_nearest_code(count: int, num_codes: int, dim: int, seed: int) -> None:
    points, codes = normal(count, dim, seed), normal(num_codes, dim, seed + 100)
    squares = (points[:, None] - codes).square().sum(2)
    chosen = squares.gather(1, assign(points, codes)[:, None])[:, 0]
    torch.testing.assert_close(chosen, squares.min(1).values, rtol=1e-4, atol=1e-5)


def test_points_are_assigned_alike_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    points, codes = normal(100, 3), normal(7, 3, 1)
    whole = assign(points, codes)
    monkeypatch.setattr("vtok.models.quantizers.nearest.SCORES_AT_ONCE", 1)
    assert torch.equal(assign(points, codes), whole)


def test_one_code_is_the_mean() -> None:
    points = normal(50, 3)
    torch.testing.assert_close(kmeans(points, 1, rounds=1, generator=seeded()), points.mean(0, keepdim=True))


def test_clusters_far_apart_are_found_when_each_has_a_start() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = (centres[:, None] + 0.1 * torch.randn(3, 40, 2, generator=seeded())).flatten(0, 1)
    best = min((kmeans(points, 3, rounds=10, generator=seeded(seed)) for seed in range(10)), key=lambda codes: error(points, codes))
    assert float(torch.cdist(centres, best).min(1).values.max()) < 0.1


@given(num_codes=st.integers(1, 20), dim=st.integers(1, 3), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_more_rounds_never_do_worse(num_codes: int, dim: int, seed: int) -> None:
    points = normal(200, dim, seed)
    errors = [error(points, kmeans(points, num_codes, rounds=rounds, generator=seeded(seed))) for rounds in (1, 2, 4, 8)]
    assert all(later <= earlier * (1 + 1e-4) for earlier, later in pairwise(errors)), errors


def test_in_the_end_every_code_is_the_mean_of_its_points() -> None:
    points = normal(300, 2)
    codes = kmeans(points, 6, rounds=100, generator=seeded())
    nearest = assign(points, codes)
    means = torch.stack([points[nearest == k].mean(0) for k in range(6)])
    torch.testing.assert_close(codes, means, rtol=1e-4, atol=1e-4)


def test_a_code_that_loses_its_points_is_moved_where_there_are_many() -> None:
    """Most points coincide, so most starts do, and all but one of these lose everything."""
    points = torch.cat([torch.zeros(900, 2), normal(100, 2)])
    codes = kmeans(points, 32, rounds=10, generator=seeded())
    used = len(assign(points, codes).unique())
    assert used > 24


def test_no_start_is_drawn_twice() -> None:
    points = torch.arange(64.0)[:, None]
    codes = kmeans(points, 64, rounds=1, generator=seeded())
    assert codes.flatten().sort().values.tolist() == points.flatten().tolist()


@pytest.mark.parametrize("count", [1, 3, 15])
def test_fewer_points_than_codes_are_repeated(count: int) -> None:
    points = normal(count, 2)
    codes = kmeans(points, 16, rounds=3, generator=seeded())
    assert codes.shape == (16, 2)
    assert bool(codes.isfinite().all())
    assert error(points, codes) < 1e-4


def test_equal_points_give_finite_codes() -> None:
    points = torch.full((10, 2), 3.0)
    codes = kmeans(points, 4, rounds=3, generator=seeded())
    torch.testing.assert_close(codes, torch.full((4, 2), 3.0))


@pytest.mark.parametrize("count", [10, 500])
def test_the_same_seed_gives_the_same_codes(count: int) -> None:
    points = normal(count, 3)
    first, again = (kmeans(points, 16, rounds=4, generator=seeded(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, kmeans(points, 16, rounds=4, generator=seeded(6)))


def test_the_points_given_are_left_as_they_are() -> None:
    points = normal(20, 2)
    before = points.clone()
    kmeans(points, 20, rounds=3, generator=seeded())
    assert torch.equal(points, before)
