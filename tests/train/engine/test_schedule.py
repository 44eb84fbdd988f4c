"""The learning rate over a run."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.parity import Stored
from vtok.train.engine.schedule import share

sizes = st.tuples(st.integers(2, 500), st.integers(0, 100), st.floats(0, 1))


@pytest.mark.parity
@pytest.mark.parametrize("name", ["titok_schedules"])
def test_it_is_the_published_curve_one_step_earlier(name):
    """Which begins with a step at rate 0."""
    stored = Stored.load(name)
    sizes = stored.config["sizes"]
    total, warmup, base = sizes["total_steps"], sizes["warmup_steps"], sizes["base_lr"]
    shares = [share(step, total, warmup_steps=warmup - 1, final_share=sizes["end_lr"] / base) for step in range(total)]
    stored.check("lr", base * torch.tensor([0.0, *shares], dtype=torch.float64))


def test_it_rises_in_equal_parts_from_nothing_to_all():
    assert [share(step, 100, warmup_steps=4, final_share=0.1) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_without_a_warmup_it_begins_at_the_top():
    assert share(0, 10, warmup_steps=0, final_share=0.1) == 1


def test_half_way_down_it_is_half_way_between_both_ends():
    assert share(60, 101, warmup_steps=20, final_share=0.2) == pytest.approx(0.6)


def test_a_quarter_down_it_is_where_the_cosine_is():
    assert share(25, 101, warmup_steps=0, final_share=0.0) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


@given(sizes)
def test_it_ends_at_the_final_share(size):
    num_steps, warmup, final = size
    if warmup < num_steps - 1:
        assert share(num_steps - 1, num_steps, warmup_steps=warmup, final_share=final) == pytest.approx(final)


@given(sizes)
def test_it_never_leaves_the_range_and_falls_after_the_warmup(size):
    num_steps, warmup, final = size
    shares = [share(step, num_steps, warmup_steps=warmup, final_share=final) for step in range(num_steps)]
    assert all(0 < s <= 1 or s == final for s in shares)
    falling = shares[warmup:]
    assert falling == sorted(falling, reverse=True)
