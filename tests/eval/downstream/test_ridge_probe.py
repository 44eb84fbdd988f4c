"""Ridge regression in closed form, against numpy's least squares."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.threads import threads
from vtok.errors import UnsupportedError
from vtok.eval.downstream.ridge_probe import MAX_FEATURES, RidgeProbe, best_penalty, num_right


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The tensors are small."""
    with threads(1):
        yield


def data(count=200, num_features=6, num_classes=4, seed=0):
    """Features of very different scales and offsets, and labels that they tell something of."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (count,), generator=rng)
    features = torch.randn(count, num_features, generator=rng) + labels[:, None] * torch.linspace(-1, 1, num_features)
    return features * torch.logspace(-2, 2, num_features) + torch.linspace(-30, 30, num_features), labels


def counted(features, labels, num_classes=4, block=64):
    probe = RidgeProbe(features.shape[1], num_classes)
    for start in range(0, len(features), block):
        probe.update(features[start : start + block], labels[start : start + block])
    return probe


@pytest.mark.parametrize("penalty", [1e-4, 0.3, 20.0])
def test_the_map_is_the_solution_of_least_squares_with_a_penalty(penalty):
    features, labels = data()
    x, y = features.double().numpy(), np.eye(4)[labels.numpy()]
    z = (x - x.mean(0)) / x.std(0)
    rows = np.vstack([z / np.sqrt(len(z)), np.sqrt(penalty) * np.eye(6)])
    targets = np.vstack([(y - y.mean(0)) / np.sqrt(len(z)), np.zeros((6, 4))])
    weights = np.linalg.lstsq(rows, targets, rcond=None)[0]
    scores = counted(features, labels).compute(penalty).scores(features)
    np.testing.assert_allclose(scores.numpy(), z @ weights + y.mean(0), atol=1e-10)  # float64, condition up to 1e4


def test_without_a_penalty_to_speak_of_it_is_least_squares_with_a_bias():
    features, labels = data()
    design = np.hstack([features.double().numpy(), np.ones((len(features), 1))])
    solution = np.linalg.lstsq(design, np.eye(4)[labels.numpy()], rcond=None)[0]
    scores = counted(features, labels).compute(1e-12).scores(features)
    np.testing.assert_allclose(scores.numpy(), design @ solution, atol=1e-7)


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(1, 80), st.integers(0, 99))
def test_merged_parts_are_one_pass(split, block, seed):
    features, labels = data(60, seed=seed)
    whole = counted(features, labels, block=60).compute(0.1)
    first, second = counted(features[:split], labels[:split], block=block), counted(features[split:], labels[split:], block=block)
    first.merge(second)
    merged = first.compute(0.1)
    assert first.count == 60
    torch.testing.assert_close(merged.weights, whole.weights, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(merged.bias, whole.bias, rtol=1e-9, atol=1e-12)


def test_separable_classes_are_all_found():
    labels = torch.arange(90) % 3
    features = torch.eye(3)[labels] * 5 + torch.rand(90, 3, generator=torch.Generator().manual_seed(0))
    assert num_right(counted(features, labels, 3).compute(1e-3).scores(features), labels) == 90


def test_the_scale_of_a_feature_does_not_matter():
    features, labels = data()
    scaled = counted(features * torch.logspace(-3, 3, 6), labels).compute(0.5).scores(features * torch.logspace(-3, 3, 6))
    torch.testing.assert_close(scaled, counted(features, labels).compute(0.5).scores(features), rtol=0, atol=1e-5)  # float32 products


def test_constant_features_change_nothing():
    features, labels = data()
    constant = torch.tensor([0.0, 7.1, -1e6]).expand(len(features), 3)
    more = counted(torch.cat([features, constant], 1), labels).compute(0.1)
    assert not more.weights[6:].any()
    torch.testing.assert_close(more.weights[:6], counted(features, labels).compute(0.1).weights)


def test_features_that_are_all_constant_leave_the_shares_of_the_classes():
    labels = torch.tensor([0, 1, 1, 1])
    classifier = counted(torch.ones(4, 5), labels, 2).compute(1.0)
    torch.testing.assert_close(classifier.scores(torch.ones(1, 5)), torch.tensor([[0.25, 0.75]], dtype=torch.float64))


def test_fewer_pictures_than_features_have_a_solution():
    features, labels = data(5, 40)
    assert counted(features, labels).compute(1e-4).weights.isfinite().all()


def test_top_5_counts_labels_among_the_five_best():
    scores = torch.arange(7.0).expand(3, 7)
    assert [num_right(scores, torch.tensor([6, 2, 1]), most) for most in (1, 5, 6, 99)] == [1, 2, 3, 3]


def test_of_equally_good_penalties_the_larger_is_taken():
    assert best_penalty([0.1, 1.0, 10.0], [7, 9, 9]) == 10.0


def test_nothing_is_counted_of_no_pictures():
    probe = counted(*data())
    before = probe.compute(1.0).weights
    probe.update(torch.empty(0, 6), torch.empty(0, dtype=torch.int64))
    probe.merge(RidgeProbe(6, 4))
    assert torch.equal(probe.compute(1.0).weights, before)


def test_too_many_features_are_refused():
    with pytest.raises(UnsupportedError, match="take the mean of positions"):
        RidgeProbe(MAX_FEATURES + 1, 2)


@pytest.mark.parametrize("penalty", [0.0, -1.0])
def test_a_penalty_must_be_positive(penalty):
    with pytest.raises(ValueError, match="positive penalty"):
        counted(*data()).compute(penalty)


def test_a_probe_of_nothing_has_no_map():
    with pytest.raises(ValueError, match="needs pictures"):
        RidgeProbe(3, 2).compute(1.0)


def test_features_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"must be \(B, 6\)"):
        RidgeProbe(6, 4).update(torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64))
