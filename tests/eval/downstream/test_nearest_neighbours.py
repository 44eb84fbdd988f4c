"""Votes of nearest neighbours, against a plain search."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.threads import threads
from vtok.eval.downstream.nearest_neighbours import NearestNeighbours


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The tensors are small."""
    with threads(1):
        yield


def data(count, num_features=5, num_classes=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, num_features, generator=rng), torch.randint(num_classes, (count,), generator=rng)


def voted(queries, features, labels, *, num_classes=3, num_neighbours=4, tile=1024, block=None):
    neighbours = NearestNeighbours(queries, num_neighbours=num_neighbours, tile=tile)
    for start in range(0, len(features), block or len(features)):
        rows = slice(start, start + (block or len(features)))
        neighbours.update(features[rows], labels[rows])
    return neighbours.compute(num_classes, 0.07).tolist()


def plain_vote(query, features, labels, num_neighbours):
    """One query, in plain numbers; earlier ones first where equal."""

    def similarity(other):
        return float(query.double() @ other.double() / (query.double().norm() * other.double().norm()))

    ranked = sorted(range(len(features)), key=lambda i: (-similarity(features[i]), i))[:num_neighbours]
    votes = [0.0, 0.0, 0.0]
    for i in ranked:
        votes[int(labels[i])] += math.exp(similarity(features[i]) / 0.07)
    return votes.index(max(votes))


@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 25), st.integers(0, 999))
def test_the_vote_is_that_of_a_plain_search(count, num_queries, num_neighbours, seed):
    features, labels = data(count, seed=seed)
    queries, _ = data(num_queries, seed=seed + 1000)
    plain = [plain_vote(query, features, labels, num_neighbours) for query in queries]
    assert voted(queries, features, labels, num_neighbours=num_neighbours) == plain


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 9), st.integers(0, 99))
def test_tiles_and_blocks_do_not_matter(count, tile, block, seed):
    features, labels = data(count, seed=seed)
    features = features.round()  # many are equally near
    queries = data(11, seed=seed + 100)[0].round()
    assert voted(queries, features, labels, tile=tile, block=block) == voted(queries, features, labels)


def test_of_equally_near_ones_the_earlier_count():
    features = torch.tensor([[1.0, 0.0]]).repeat(9, 1)
    labels = torch.tensor([2, 2, 1, 1, 1, 1, 1, 1, 1])
    assert voted(torch.tensor([[3.0, 0.0]]), features, labels, num_neighbours=3, block=2) == [2]


def test_a_near_one_outvotes_two_far_ones():
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert voted(torch.tensor([[1.0, 0.1]]), features, torch.tensor([0, 1, 1])) == [0]


def test_length_does_not_matter():
    features, labels = data(20)
    queries, _ = data(6, seed=1)
    scales = torch.logspace(-3, 3, 20)[:, None]
    assert voted(queries * 100, features * scales, labels) == voted(queries, features, labels)


def test_a_picture_finds_itself():
    features, labels = data(50)
    assert voted(features, features, labels, num_neighbours=1, block=7) == labels.tolist()


def test_embeddings_that_are_zero_are_far_from_all():
    features, labels = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([1, 2])
    assert voted(torch.tensor([[1.0, 0.0]]), features, labels) == [2]
    assert voted(torch.zeros(1, 2), features, labels, num_neighbours=1) == [1]


def test_no_queries_have_no_answers():
    features, labels = data(5)
    assert voted(torch.empty(0, 5), features, labels) == []


def test_features_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"must be \(B, 5\)"):
        NearestNeighbours(torch.zeros(2, 5)).update(torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least 1"):
        NearestNeighbours(torch.zeros(2, 5), num_neighbours=0)
