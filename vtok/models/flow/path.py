"""The straight path from data to noise, and what a point on it, its velocity, the data and the noise say of each other."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class StraightPath:
    """x_t = (1 - t) data + (s + t (1 - s)) noise, with the velocity (1 - s) noise - data.

    Times are (B,) in [0, 1]; all else is (B, ...) of one shape.

    Args:
        floor: s, the share of noise that is left at t = 0 (DiTo, arXiv 2501.18593); rectified flow has 0.
    """

    floor: float = 0.0

    def at(self, data: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """The points x_t."""
        t = _beside(times, data)
        return (1 - t) * data + (self.floor + t * (1 - self.floor)) * noise

    def velocity(self, data: Tensor, noise: Tensor) -> Tensor:
        """dx_t / dt, the same at all times."""
        return (1 - self.floor) * noise - data

    def noise(self, points: Tensor, velocity: Tensor, times: Tensor) -> Tensor:
        """The noise that the points and their velocity come from."""
        return points + (1 - _beside(times, points)) * velocity

    def data(self, points: Tensor, velocity: Tensor, times: Tensor) -> Tensor:
        """The data that the points and their velocity come from; x_t - t v on rectified flow's path."""
        return (1 - self.floor) * self.noise(points, velocity, times) - velocity

    def velocity_to(self, data: Tensor, points: Tensor, times: Tensor) -> Tensor:
        """The velocity at the points of a path that has these data; times above 0, or a floor."""
        t = _beside(times, points)
        noise = (points - (1 - t) * data) / (self.floor + t * (1 - self.floor))
        return self.velocity(data, noise)


RECTIFIED = StraightPath()


def _beside(times: Tensor, x: Tensor) -> Tensor:
    return times.view(-1, *[1] * (x.ndim - 1)).to(x.dtype)
