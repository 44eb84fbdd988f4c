"""Tables that mostly go unused, fitted anew."""

import pytest
import torch
from torch import Tensor

from vtok.errors import DataError
from vtok.models.quantizers.grouped_trained import TrainedGroupedQuantizer
from vtok.models.quantizers.nearest import assign
from vtok.train.closed_form.kmeans import kmeans, lloyd
from vtok.train.closed_form.refit import drawn_in, refit_unused, steadied


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(count: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dim, generator=seeded(seed))


def used(points: Tensor, codes: Tensor) -> float:
    return len(assign(points, codes).unique()) / len(codes)


def error(points: Tensor, codes: Tensor) -> float:
    return float((points - codes[assign(points, codes)]).square().sum(1).mean().detach())


def half_used() -> TrainedGroupedQuantizer:
    """Two positions of 32 codes over 2 and 20 numbers; those of the second lie so far out that one takes all points."""
    quantizer = TrainedGroupedQuantizer(22, (2, 20), 32)
    quantizer.components.copy_(torch.arange(22))
    far = 9 * normal(32, 20, 2)
    far[0] = 0
    quantizer.fill([kmeans(normal(400, 22)[:, :2], 32, rounds=8, generator=seeded()), far])
    return quantizer


def test_a_table_that_is_hardly_used_is_fitted_anew() -> None:
    quantizer, fresh = half_used(), normal(400, 22, 1)
    (_, first), (components, second) = quantizer.positions()
    assert used(fresh[:, components], second) < 0.1
    refit_unused(quantizer, normal(400, 22), 0.8, seeded())
    (_, kept), (_, anew) = quantizer.positions()
    torch.testing.assert_close(kept, first)
    assert used(fresh[:, components], anew) > 0.9
    assert error(fresh[:, components], anew) < error(fresh[:, components], second)


def test_fewer_vectors_than_codes_are_one_line() -> None:
    with pytest.raises(DataError, match="31 tiles found, 32 codes need at least as many"):
        refit_unused(half_used(), normal(31, 22), 0.8, seeded())


def test_what_few_vectors_leave_unused_by_chance_does_not_count() -> None:
    """70 vectors with equal chances use 43 of 64 codes."""
    quantizer = TrainedGroupedQuantizer(2, (2,), 64)
    quantizer.components.copy_(torch.arange(2))
    quantizer.fill([normal(64, 2)])
    codes = quantizer.codes.detach().clone()
    refit_unused(quantizer, normal(70, 2, 1), 0.7, seeded())
    torch.testing.assert_close(quantizer.codes.detach(), codes)


def test_tables_in_use_stay() -> None:
    quantizer = half_used()
    codes = quantizer.codes.detach().clone()
    refit_unused(quantizer, normal(400, 22), 0.01, seeded())
    torch.testing.assert_close(quantizer.codes, codes)


def test_a_position_is_fitted_on_what_those_before_left() -> None:
    """Both code the same numbers: the second has codes of the first one's errors, which are a tenth as large."""
    quantizer = TrainedGroupedQuantizer(2, (2, 2), 64)
    quantizer.components.copy_(torch.tensor([0, 1, 0, 1]))
    points = normal(1000, 2)
    quantizer.fill([kmeans(points, 64, rounds=8, generator=seeded()), torch.zeros(64, 2)])
    refit_unused(quantizer, points, 0.5, seeded())
    (_, first), (_, second) = quantizer.positions()
    assert float(second.detach().square().mean()) < 0.1 * float(first.detach().square().mean())


def test_codes_of_many_dimensions_all_serve_points_not_seen() -> None:
    """Started from the points themselves 0.59 of them would."""
    points, others = normal(2000, 60), normal(2000, 60, 1)
    assert used(others, lloyd(points, drawn_in(points, 256, seeded()), rounds=8, generator=seeded())) > 0.9


def test_means_of_few_points_in_many_dimensions_are_drawn_in_to_serve_others() -> None:
    points, others = normal(1000, 60), normal(1000, 60, 1)
    codes = lloyd(points, drawn_in(points, 256, seeded()), rounds=8, generator=seeded())
    assert error(others, steadied(points, codes)) < 0.97 * error(others, codes)
    assert used(others, steadied(points, codes)) > 1.2 * used(others, codes)


def test_clusters_far_apart_stay_where_they_are() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = (centres[:, None] + 0.1 * torch.randn(3, 40, 2, generator=seeded())).flatten(0, 1)
    means = points.view(3, 40, 2).mean(1)
    torch.testing.assert_close(steadied(points, means), means, rtol=0, atol=1e-3)


def test_a_code_without_points_goes_to_the_mean() -> None:
    points = normal(50, 3)
    codes = torch.cat([points[:4], torch.full((1, 3), 99.0)])
    torch.testing.assert_close(steadied(points, codes)[4], points.mean(0))
