"""What figures of sets must hold whatever the features."""

import numpy as np
import pytest
import torch

from vtok.errors import DataError
from vtok.eval.distributions import manifold
from vtok.eval.distributions.feature_set import FeatureSet
from vtok.eval.distributions.frechet import frechet_distance
from vtok.eval.distributions.gaussian import Gaussian, GaussianStatistics
from vtok.eval.distributions.inception_score import ScoreRule, inception_score
from vtok.eval.distributions.kernel import kernel_distance, polynomial_mmd
from vtok.eval.distributions.manifold import manifold_figures

RULES = ("torch-fidelity", "adm", "prdc")


def rows(count, dim=12, seed=0, shift=0.0):
    """Rows with a large mean, on which careless sums lose digits."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator) @ torch.randn(dim, dim, generator=generator) + 100 + shift


def gaussian(features):
    statistics = GaussianStatistics(features.shape[1])
    statistics.update(features)
    return statistics.compute()


def test_seven_uneven_shards_are_one_pass():
    features = rows(5000)
    whole, merged = gaussian(features), GaussianStatistics(12)
    for part in features.split([1, 2, 700, 3, 2000, 94, 2200]):
        shard = GaussianStatistics(12)
        shard.update(part)
        merged.merge(shard)
    found = merged.compute()
    assert found.count == whole.count
    torch.testing.assert_close(found.mean, whole.mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.covariance, whole.covariance, rtol=1e-10, atol=1e-12)


def test_statistics_are_those_of_two_passes():
    features = rows(3000).double()
    found = gaussian(features.float())
    torch.testing.assert_close(found.mean, features.float().double().mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(found.covariance, torch.cov(features.float().double().T), rtol=1e-10, atol=1e-10)


def test_a_shard_without_rows_changes_nothing():
    statistics = GaussianStatistics(12)
    statistics.update(rows(0))
    statistics.update(rows(50))
    statistics.merge(GaussianStatistics(12))
    assert torch.equal(statistics.compute().covariance, gaussian(rows(50)).covariance)


@pytest.mark.parametrize("count", [5, 200])
def test_a_set_is_at_no_distance_from_itself(count):
    own = gaussian(rows(count))
    assert frechet_distance(own, own) == pytest.approx(0, abs=1e-4)
    assert own.rank_deficient == (count == 5)


def test_the_distance_knows_neither_the_order_nor_the_axes():
    one, other = rows(300), rows(200, seed=1, shift=1.0)
    turn = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q
    expected = frechet_distance(gaussian(one), gaussian(other))
    assert frechet_distance(gaussian(one.flip(0)), gaussian(other)) == pytest.approx(expected, rel=1e-9)
    turned = (gaussian(part.double() @ turn) for part in (one, other))
    assert frechet_distance(*turned) == pytest.approx(expected, rel=1e-6)


def test_independent_dimensions_have_a_closed_form():
    means, deviations = torch.randn(2, 6, dtype=torch.float64), torch.rand(2, 6, dtype=torch.float64) + 0.1
    pair = [Gaussian(mean, deviation.square().diag(), 100) for mean, deviation in zip(means, deviations, strict=True)]
    expected = (means[0] - means[1]).square().sum() + (deviations[0] - deviations[1]).square().sum()
    assert frechet_distance(*pair) == pytest.approx(float(expected), rel=1e-10)


def test_other_networks_are_told_apart():
    with pytest.raises(DataError, match="12 dimensions against 11"):
        frechet_distance(gaussian(rows(20)), gaussian(rows(20, 11)))
    for figures in (kernel_distance, lambda *pair: manifold_figures(*pair, "adm")):
        with pytest.raises(DataError, match="12 dimensions against 11"):
            figures(rows(20), rows(20, 11))


def test_damaged_statistics_are_refused():
    own = gaussian(rows(50))
    with pytest.raises(DataError, match="statistics are damaged"):
        frechet_distance(own, Gaussian(own.mean, -own.covariance, 50))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_is_refused_with_its_picture(value):
    features = rows(8)
    features[5, 3] = value
    with pytest.raises(DataError, match="picture 5"):
        gaussian(features)
    with pytest.raises(DataError, match="picture 105"):
        FeatureSet().update(torch.arange(100, 108), features)


def test_one_picture_has_no_covariance():
    with pytest.raises(DataError, match="two pictures"):
        gaussian(rows(1))


def test_two_halves_of_one_set_are_near():
    features = rows(4000, 6) - 100
    distance = kernel_distance(features[::2], features[1::2], subset_size=500)
    far = kernel_distance(features[::2], features[1::2] + 1, subset_size=500)
    assert abs(distance.mean) < 3 * distance.std
    assert far.mean > 3 * far.std


def test_subsets_are_no_larger_than_the_smaller_set():
    features = rows(40) - 100
    distance = kernel_distance(features, features.flip(0), subsets=3)
    assert distance.std == pytest.approx(0, abs=1e-6)


def test_blocks_of_the_kernel_do_not_matter(monkeypatch):
    own, other = rows(50).double() / 100, rows(50, seed=1).double() / 100
    whole = [polynomial_mmd(own, other, estimator) for estimator in ("biased", "unbiased", "u_statistic")]
    monkeypatch.setattr("vtok.eval.distributions.kernel._ROWS", 7)
    assert [polynomial_mmd(own, other, estimator) for estimator in ("biased", "unbiased", "u_statistic")] == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize(
    "rule", [ScoreRule(), ScoreRule(1), ScoreRule(None, 7), ScoreRule(3, shuffle_seed=None, eps=1e-16, dtype="float32")]
)
def test_scores_lie_between_one_and_the_number_of_classes(rule):
    sure = 100 * torch.eye(5).repeat(20, 1)
    assert inception_score(torch.zeros(100, 5), rule).mean == pytest.approx(1)
    assert 1 <= inception_score(sure, rule).mean <= 5 + 1e-6
    assert inception_score(sure, ScoreRule(1)).mean == pytest.approx(5)


@pytest.mark.parametrize("rule", RULES)
def test_equal_sets_cover_each_other(rule):
    figures = manifold_figures(rows(60), rows(60), rule)
    assert (figures.precision, figures.recall, figures.coverage) == (1, 1, 1)


@pytest.mark.parametrize("rule", RULES)
def test_far_sets_do_not(rule):
    figures = manifold_figures(rows(60), rows(70, shift=1e3), rule)
    assert (figures.precision, figures.recall, figures.density, figures.coverage) == (0, 0, 0, 0)


@pytest.mark.parametrize("rule", RULES)
def test_tiles_do_not_matter(rule, monkeypatch):
    own, other = rows(70) - 100, rows(90, seed=1) - 100
    whole = manifold_figures(own, other, rule)
    monkeypatch.setattr(manifold, "_TILE", 16)
    assert manifold_figures(own, other, rule) == whole


def test_neighbours_need_pictures():
    with pytest.raises(DataError, match="3 neighbours need more pictures"):
        manifold_figures(rows(3), rows(30), "adm")


def test_features_come_back_in_the_order_of_their_pictures():
    features, order = rows(20), torch.from_numpy(np.random.default_rng(0).permutation(20))
    one, other = FeatureSet(), FeatureSet()
    one.update(order[:5], features[order[:5]])
    other.update(order[5:], features[order[5:]])
    one.merge(other)
    assert torch.equal(one.compute(), features)


def test_a_picture_that_comes_twice_is_there_once_and_must_be_the_same():
    found = FeatureSet()
    found.update(torch.tensor([0, 1]), rows(2))
    found.update(torch.tensor([1]), rows(2)[1:])
    assert torch.equal(found.compute(), rows(2))
    found.update(torch.tensor([1]), rows(1))
    with pytest.raises(ValueError, match="picture 1 came with two different rows"):
        found.compute()


def test_no_features_are_an_error():
    with pytest.raises(DataError, match="no picture"):
        FeatureSet().compute()
