"""A whole probe: what is chosen where, and that all of it depends on the training pictures alone."""

import pytest
import torch

from tests.threads import threads
from vtok.errors import DataError
from vtok.eval.downstream import probing
from vtok.eval.downstream.probing import PENALTIES, LabelledFeatures, probe


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The tensors are small."""
    with threads(1):
        yield


def labelled(features, labels, block=16):
    return LabelledFeatures(lambda places: (features[part] for part in places.split(block)), labels)


def separable(count, seed=0, spread=1.0):
    labels = torch.arange(count) % 4
    noise = torch.rand(count, 8, generator=torch.Generator().manual_seed(seed))
    return torch.eye(8)[labels] * 8 + spread * noise, labels


def test_classes_that_are_apart_are_all_found():
    figures = probe(labelled(*separable(200)), labelled(*separable(40, seed=1)), 4)
    assert (figures.linear_top1, figures.linear_top5, figures.knn_top1, figures.num_features) == (1.0, 1.0, 1.0, 8)


def test_features_that_say_nothing_are_near_chance():
    rng = torch.Generator().manual_seed(0)
    train, valid = ((torch.randn(n, 6, generator=rng), torch.randint(10, (n,), generator=rng)) for n in (1000, 1000))
    figures = probe(labelled(*train), labelled(*valid), 10)
    assert 0.05 < figures.linear_top1 < 0.16  # 0.1; five times the deviation of 1000 draws
    assert 0.05 < figures.knn_top1 < 0.16
    assert 0.42 < figures.linear_top5 < 0.58


def test_blocks_do_not_matter():
    train, valid = separable(60, spread=20.0), separable(30, seed=1, spread=20.0)
    assert probe(labelled(*train, block=7), labelled(*valid, block=4), 4) == probe(labelled(*train), labelled(*valid), 4)


def test_the_penalty_is_chosen_without_the_validation_pictures():
    train = separable(80, spread=30.0)
    valid = separable(40, seed=1, spread=30.0)
    other = valid[0].flip(0), valid[1]
    found = probe(labelled(*train), labelled(*valid), 4)
    assert found.penalty in PENALTIES
    assert probe(labelled(*train), labelled(*other), 4).penalty == found.penalty


def test_noise_asks_for_a_penalty():
    signal, labels = separable(100)
    noise = torch.randn(100, 70, generator=torch.Generator().manual_seed(0))
    weak = torch.cat([signal * 0.05, noise], 1)
    assert probe(labelled(weak, labels), labelled(weak[:8], labels[:8]), 4).penalty > PENALTIES[0]


def test_all_training_pictures_are_learnt_from(monkeypatch):
    merged = []
    original = probing.RidgeProbe.merge

    def merge(self, other):
        original(self, other)
        merged.append(self.count)

    monkeypatch.setattr(probing.RidgeProbe, "merge", merge)
    probe(labelled(*separable(50)), labelled(*separable(8)), 4)
    assert merged == [50]


def test_two_pictures_are_enough_and_one_is_not():
    assert probe(labelled(*separable(2)), labelled(*separable(4)), 4).linear_top5 == 1.0
    with pytest.raises(DataError, match="at least 2 pictures"):
        probe(labelled(*separable(1)), labelled(*separable(4)), 4)
