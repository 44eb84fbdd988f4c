"""Following the velocity from noise to data."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from vtok.errors import UnsupportedError

Velocity = Callable[[Tensor, float], Tensor]
"""(points (B, ...), their time) to their velocity (B, ...); asked at times of the grid alone."""
Solver = Callable[[Velocity, Tensor, Tensor, float, float], Tensor]
"""(velocity, points, their velocity, their time, the next time) to the points at the next time."""


def euler(velocity: Velocity, x: Tensor, v: Tensor, now: float, then: float) -> Tensor:  # noqa: ARG001 - one call a step is enough
    """Along the velocity; the error falls with 1 / steps."""
    return x + (then - now) * v


def heun(velocity: Velocity, x: Tensor, v: Tensor, now: float, then: float) -> Tensor:
    """Along the mean of the velocities at both ends; the error falls with 1 / steps^2. The step to data is Euler's."""
    ahead = euler(velocity, x, v, now, then)
    return ahead if then == 0 else x + (then - now) / 2 * (v + velocity(ahead, then))


SOLVERS: dict[str, Solver] = {"euler": euler, "heun": heun}


def solve(velocity: Velocity, noise: Tensor, times: Sequence[float], solver: str, *, after_step: Callable[[int, Tensor], None]) -> Tensor:
    """Data (B, ...) from noise of that shape.

    Args:
        times: falling, from 1 for pure noise to 0.
        solver: one of `SOLVERS`.
        after_step: told the number of the step, from 1, and the points after it.

    Raises:
        UnsupportedError: no such solver.
    """
    if solver not in SOLVERS:
        raise UnsupportedError(f"no solver {solver!r}; there are: {', '.join(SOLVERS)}")
    step, x = SOLVERS[solver], noise
    for number, (now, then) in enumerate(pairwise(times), 1):
        x = step(velocity, x, velocity(x, now), now, then)
        after_step(number, x)
    return x
