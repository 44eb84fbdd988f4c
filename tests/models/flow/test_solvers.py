"""Solvers reach the data as fast as their order says, and take the steps that a library of schedulers takes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vtok.errors import UnsupportedError
from vtok.models.flow.solvers import SOLVERS, Velocity, solve
from vtok.models.flow.times import time_grid

every_solver = pytest.mark.parametrize("solver", SOLVERS)
SPREAD = 0.5  # standard deviation of Gaussian data


def of_a_gaussian(x: Tensor, time: float) -> Tensor:
    """The velocity where data are normal with a deviation of `SPREAD`; noise x ends at SPREAD * x."""
    return x * (time - (1 - time) * SPREAD**2) / ((1 - time) ** 2 * SPREAD**2 + time**2)


def noise_of(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def solved(velocity: Velocity, noise: Tensor, times: list[float], solver: str) -> Tensor:
    return solve(velocity, noise, times, solver, after_step=lambda *_: None)


def asked(times: list[float], solver: str) -> list[float]:
    """The times at which a solver asks for a velocity, in its order."""
    seen: list[float] = []

    def noting(x: Tensor, time: float) -> Tensor:
        seen.append(time)
        return of_a_gaussian(x, time)

    solved(noting, noise_of(2), times, solver)
    return seen


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_the_error_falls_with_the_steps_to_the_power_of_the_order(solver: str, order: int, shift: float) -> None:
    noise, numbers = noise_of(100), [64, 128, 256, 512]
    errors = [float((solved(of_a_gaussian, noise, time_grid(steps, shift=shift), solver) - SPREAD * noise).norm()) for steps in numbers]
    slope = np.polyfit(np.log(numbers), np.log(errors), 1)[0]
    assert slope == pytest.approx(-order, abs=0.05)
    assert errors[0] < 0.03 * float(noise.norm())


@every_solver
@pytest.mark.parametrize("steps", [1, 2, 5, 20])
def test_data_that_are_one_picture_are_reached_in_any_number_of_steps(solver: str, steps: int) -> None:
    picture, noise = noise_of(2, 3, 4, 4)
    found = solved(lambda x, time: (x - picture) / time, noise, time_grid(steps), solver)
    torch.testing.assert_close(found, picture)


@every_solver
def test_a_velocity_that_is_the_same_everywhere_is_followed_without_an_error(solver: str) -> None:
    noise, velocity = noise_of(2, 3, 4, 4)
    torch.testing.assert_close(solved(lambda *_: velocity, noise, time_grid(7, shift=2.0), solver), noise - velocity)


def test_euler_asks_once_a_step_and_heun_twice_but_for_the_last() -> None:
    times = [1.0, 0.7, 0.2, 0.0]
    assert asked(times, "euler") == [1.0, 0.7, 0.2]
    assert asked(times, "heun") == [1.0, 0.7, 0.7, 0.2, 0.2]


def test_steps_by_hand_are_the_steps() -> None:
    times, noise = [1.0, 0.7, 0.2, 0.0], noise_of(3)
    euler = heun = noise
    for now, then in ((1.0, 0.7), (0.7, 0.2), (0.2, 0.0)):
        euler = euler + (then - now) * of_a_gaussian(euler, now)
        ahead = heun + (then - now) * of_a_gaussian(heun, now)
        mean = (of_a_gaussian(heun, now) + of_a_gaussian(ahead, then)) / 2
        heun = heun + (then - now) * mean if then else ahead
    torch.testing.assert_close(solved(of_a_gaussian, noise, times, "euler"), euler)
    torch.testing.assert_close(solved(of_a_gaussian, noise, times, "heun"), heun)


@every_solver
def test_each_step_is_told_with_its_number_and_its_points(solver: str) -> None:
    told: list[tuple[int, Tensor]] = []
    times, noise = time_grid(4), noise_of(3)
    found = solve(of_a_gaussian, noise, times, solver, after_step=lambda number, x: told.append((number, x)))
    assert [number for number, _ in told] == [1, 2, 3, 4]
    assert told[-1][1] is found
    torch.testing.assert_close(told[0][1], solved(of_a_gaussian, noise, times[:2], solver))


@every_solver
def test_the_noise_given_is_left_as_it_is(solver: str) -> None:
    noise = noise_of(3)
    solved(of_a_gaussian, noise, time_grid(4), solver)
    assert torch.equal(noise, noise_of(3))


def test_a_solver_that_there_is_not_is_refused_before_the_first_step() -> None:
    with pytest.raises(UnsupportedError, match="no solver 'rk4'; there are: euler, heun") as error:
        solve(lambda *_: pytest.fail("asked"), noise_of(3), time_grid(2), "rk4", after_step=lambda *_: None)
    assert "\n" not in str(error.value)


# --- the schedulers of diffusers, which count times in thousandths and compute in float32


def by_scheduler(scheduler: Any, noise: Tensor) -> Tensor:
    x = noise
    for time in scheduler.timesteps:
        x = scheduler.step(of_a_gaussian(x, float(time) / 1000), time, x).prev_sample
    return x


def euler_scheduler(diffusers: Any, steps: int, shift: float) -> tuple[Any, list[float]]:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=time_grid(steps, shift=shift)[:-1])  # it ends at 0 by itself
    return scheduler, scheduler.sigmas.tolist()


def heun_scheduler(diffusers: Any, steps: int, shift: float) -> tuple[Any, list[float]]:
    """On its own grid; all its times but the ends stand there twice."""
    scheduler = diffusers.FlowMatchHeunDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    return scheduler, [float(scheduler.sigmas[0]), *scheduler.sigmas[1::2].tolist()]


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize(("solver", "made"), [("euler", euler_scheduler), ("heun", heun_scheduler)])
def test_the_schedulers_of_diffusers_take_the_same_steps(
    solver: str, made: Callable[[Any, int, float], tuple[Any, list[float]]], shift: float
) -> None:
    diffusers = pytest.importorskip("diffusers", reason="needs the extra `models`")
    noise = noise_of(2, 3, 4, 4).float()
    scheduler, times = made(diffusers, 9, shift)
    assert len(times) == 10
    assert times[-1] == 0
    torch.testing.assert_close(solved(of_a_gaussian, noise, times, solver), by_scheduler(scheduler, noise), rtol=1e-5, atol=1e-6)
