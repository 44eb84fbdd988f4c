"""Which picture each sample shows, and who reads it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtok.errors import ConfigError
from vtok.train.samples.crop_order import SampleOrder, Schedule, Share, crop_rng


def shown(order: SampleOrder, samples: range) -> list[int]:
    return [next(order.candidates(sample)) for sample in samples]


@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 1000), min_size=1, max_size=20, unique=True), st.integers(0, 5))
def test_every_epoch_shows_every_picture_once(seed, pictures, epoch):
    samples = range(epoch * len(pictures), (epoch + 1) * len(pictures))
    assert sorted(shown(SampleOrder(seed, pictures), samples)) == sorted(pictures)


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [tuple(shown(SampleOrder(seed, range(50)), range(first, first + 50))) for seed in (0, 1) for first in (0, 50, 100)]
    assert len(set(orders)) == 6


def test_the_order_does_not_depend_on_what_was_asked_before():
    straight, jumping = SampleOrder(3, range(7)), SampleOrder(3, range(7))
    expected = shown(straight, range(30))
    assert [next(jumping.candidates(sample)) for sample in reversed(range(30))] == expected[::-1]


def test_a_picture_is_replaced_by_those_after_it_each_once():
    order = SampleOrder(0, range(5))
    epoch = shown(order, range(5))
    assert list(order.candidates(3)) == epoch[3:] + epoch[:3]


def test_the_first_pictures_are_those_of_the_first_samples():
    order = SampleOrder(0, range(10, 30))
    assert order.first(4) == shown(order, range(4))
    assert len(order.first(1000)) == 20


def test_draws_of_a_crop_depend_on_seed_and_sample_alone():
    draws = [tuple(crop_rng(seed, sample).random(4)) for seed in (0, 1) for sample in range(20)]
    assert len(set(draws)) == 40
    assert draws[3] == tuple(crop_rng(0, 3).random(4))


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_the_shares_of_all_processes_are_the_batch_in_order(world_size, accumulate, size):
    batch_size = world_size * accumulate * size
    parts = [part for rank in range(world_size) for part in Share(batch_size, accumulate, rank, world_size).parts()]
    assert list(itertools.chain(*parts)) == list(range(batch_size))
    assert {len(part) for part in parts} == {size}


@pytest.mark.parametrize(("batch_size", "accumulate", "world_size"), [(3, 2, 1), (4, 1, 3), (4, 2, 4)])
def test_a_batch_that_cannot_be_dealt_out_is_refused(batch_size, accumulate, world_size):
    with pytest.raises(ConfigError, match=rf"train\.batch_size {batch_size} .* multiple of {world_size * accumulate} "):
        Share(batch_size, accumulate, 0, world_size)


def test_a_schedule_that_goes_on_is_the_end_of_the_whole_one():
    share = Share(8, accumulate=2, rank=1, world_size=2)
    whole = list(Schedule(share, 0, 6))
    assert whole[:2] == [[4, 5], [6, 7]]
    assert list(Schedule(share, 4, 6)) == whole[8:]
