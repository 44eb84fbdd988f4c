"""Figures of pictures, gathered in any order."""

import math

import numpy as np
import pytest
import torch

from vtok.errors import DataError
from vtok.eval.run.picture_values import PictureValues


def gathered(values, parts):
    found = PictureValues()
    for part in parts:
        found.update(torch.tensor(part), values[torch.tensor(part)])
    return found


def test_the_parts_and_their_order_change_nothing():
    values = torch.from_numpy(np.random.default_rng(0).lognormal(0, 8, 1000))
    whole = gathered(values, [list(range(1000))]).compute()
    scattered = gathered(values, np.array_split(np.random.default_rng(1).permutation(1000), 7))
    assert scattered.compute() == whole
    assert whole.mean == math.fsum(values.tolist()) / 1000


def test_merged_parts_are_the_whole():
    values = torch.rand(10, dtype=torch.float64)
    one, other = gathered(values, [[0, 3, 4]]), gathered(values, [[9, 8, 7, 6, 5, 2, 1]])
    one.merge(other)
    assert one.compute() == gathered(values, [list(range(10))]).compute()


def test_a_picture_that_comes_twice_counts_once():
    values = torch.rand(4, dtype=torch.float64)
    assert gathered(values, [[0, 1, 2], [2, 3, 0]]).compute() == gathered(values, [[0, 1, 2, 3]]).compute()


def test_an_infinite_figure_makes_the_mean_infinite_and_the_finite_mean_is_told():
    summary = gathered(torch.tensor([30.0, math.inf, 40.0]), [[0, 1, 2]]).compute()
    assert (summary.mean, summary.finite_mean, summary.num_infinite, summary.median) == (math.inf, 35.0, 1, 40.0)


def test_what_is_no_number_is_refused_with_its_picture():
    with pytest.raises(DataError, match="picture 7"):
        PictureValues().update(torch.tensor([5, 7]), torch.tensor([1.0, math.nan]))


def test_nothing_measured_is_an_error():
    with pytest.raises(DataError, match="no picture"):
        PictureValues().compute()
