"""Values of steps, kept until they are looked at."""

import pytest
import torch
from accelerate import Accelerator

from vtok.errors import TrainingError
from vtok.train.engine.measurements import Measurements, means


@pytest.fixture
def measurements():
    return Measurements(Accelerator(cpu=True))


def test_rows_come_back_with_their_steps_and_names(measurements):
    measurements.add(4, ("a",), torch.tensor([1.0]))
    measurements.add(5, ("a", "b"), torch.tensor([2.0, 3.0]))
    assert measurements.look("") == [(4, {"a": 1.0}), (5, {"a": 2.0, "b": 3.0})]
    assert measurements.look("") == measurements.rows


def test_they_begin_anew_after_a_line(measurements):
    measurements.add(1, ("a",), torch.tensor([1.0]))
    measurements.look("")
    measurements.clear()
    assert measurements.look("") == []


def test_rows_of_a_run_that_was_cut_off_come_first():
    measurements = Measurements(Accelerator(cpu=True), [(1, {"a": 1.0})])
    measurements.add(2, ("a",), torch.tensor([2.0]))
    assert measurements.look("") == [(1, {"a": 1.0}), (2, {"a": 2.0})]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_the_first_step_with_a_value_that_is_no_number_is_named(measurements, value):
    measurements.add(1, ("a", "b"), torch.tensor([1.0, 2.0]))
    measurements.add(2, ("a", "b"), torch.tensor([1.0, value]))
    measurements.add(3, ("a", "b"), torch.tensor([value, value]))
    with pytest.raises(TrainingError, match=f"step 2: b is {value}; go back to X"):
        measurements.look("go back to X")


def test_a_mean_counts_only_rows_that_have_the_value():
    assert means([(1, {"a": 1.0}), (2, {"a": 3.0, "b": 5.0})]) == {"a": 2.0, "b": 5.0}
