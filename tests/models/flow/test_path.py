"""The straight path: points, velocity, data and noise say the same of each other."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from tests.parity import Stored
from vtok.models.flow.path import RECTIFIED, StraightPath

DITO = 1e-5  # noise that its path leaves at time 0
every_floor = pytest.mark.parametrize("floor", [0.0, DITO, 0.2])


def drawn(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    """Data and noise of a shape, and times from 0.05 to 1; float64."""
    generator = torch.Generator().manual_seed(0)
    data, noise = torch.randn(2, *shape, dtype=torch.float64, generator=generator)
    return data, noise, 0.05 + 0.95 * torch.rand(shape[0], dtype=torch.float64, generator=generator)


@every_floor
def test_a_path_leads_from_data_to_noise(floor: float) -> None:
    data, noise, times = drawn(4, 3, 5, 2)
    path = StraightPath(floor)
    torch.testing.assert_close(path.at(data, noise, torch.zeros_like(times)), data + floor * noise)
    torch.testing.assert_close(path.at(data, noise, torch.ones_like(times)), noise)


@every_floor
def test_the_velocity_is_how_far_a_point_moves_in_a_time(floor: float) -> None:
    data, noise, times = drawn(4, 3, 5, 2)
    path = StraightPath(floor)
    moved = path.at(data, noise, times) - path.at(data, noise, times / 3)
    torch.testing.assert_close(moved, (times * 2 / 3)[:, None, None, None] * path.velocity(data, noise))


@every_floor
@pytest.mark.parametrize("shape", [(6,), (6, 4), (6, 3, 5, 2)])
def test_what_a_point_is_made_of_comes_back_from_it_and_its_velocity(floor: float, shape: tuple[int, ...]) -> None:
    data, noise, times = drawn(*shape)
    path = StraightPath(floor)
    points, velocity = path.at(data, noise, times), path.velocity(data, noise)
    torch.testing.assert_close(path.data(points, velocity, times), data)
    torch.testing.assert_close(path.noise(points, velocity, times), noise)
    torch.testing.assert_close(path.velocity_to(data, points, times), velocity)


@every_floor
def test_data_and_noise_solve_the_two_equations_of_the_path(floor: float) -> None:
    points, velocity, times = drawn(6, 3)
    path = StraightPath(floor)
    shares = torch.stack([torch.stack([1 - times, floor + times * (1 - floor)], 1), torch.tensor([-1, 1 - floor]).expand(6, 2)], 1)
    data, noise = torch.linalg.solve(shares, torch.stack([points, velocity], 1)).unbind(1)
    torch.testing.assert_close(path.data(points, velocity, times), data)
    torch.testing.assert_close(path.noise(points, velocity, times), noise)


def test_data_of_a_rectified_flow_is_the_point_less_its_time_of_the_velocity() -> None:
    points, velocity, times = drawn(6, 3)
    torch.testing.assert_close(RECTIFIED.data(points, velocity, times), points - times[:, None] * velocity)


def test_a_floor_makes_a_velocity_known_at_time_0() -> None:
    data, noise, times = drawn(6, 3)
    path, start = StraightPath(0.2), torch.zeros_like(times)
    torch.testing.assert_close(path.velocity_to(data, path.at(data, noise, start), start), path.velocity(data, noise))


def test_points_have_the_type_of_the_data_whatever_that_of_the_times() -> None:
    data, noise, times = drawn(6, 3)
    assert RECTIFIED.at(data.float(), noise.float(), times).dtype == torch.float32


class Predictor(nn.Module):
    """The network of the stored values, which gives minus the velocity."""

    def __init__(self, stored: Stored):
        super().__init__()
        self.weights = nn.ParameterDict({name.replace(".", "_"): value for name, value in stored.weights.items()})

    def forward(self, points: Tensor, times: Tensor, cond: Tensor) -> Tensor:
        own = self.weights
        told = linear(torch.stack([times, torch.zeros_like(times)], 1), own["t_weight"], own["t_bias"])
        told = told + linear(cond.mean(1), own["c_weight"], own["c_bias"])
        seen = conv2d(points, own["i_weight"], own["i_bias"], padding=1) + told[:, :, None, None]
        return conv2d(seen.tanh(), own["o_weight"], own["o_bias"], padding=1)


@pytest.mark.parity
def test_the_path_and_the_loss_of_dito() -> None:
    stored = Stored.load("decoder_objectives")
    data, noise, times, cond = (stored.inputs[name] for name in ("x", "eps", "t", "cond"))
    path, network = StraightPath(DITO), Predictor(stored)
    points = path.at(data, noise, times)
    minus_velocity = network(points, times, cond)
    wanted = -path.velocity(data, noise)
    loss = (minus_velocity - wanted).square().mean()
    loss.backward()
    stored.check("flow_dito/x_t", points)
    stored.check("flow_dito/pred", minus_velocity)
    stored.check("flow_dito/target_neg_velocity", wanted)
    stored.check("flow_dito/loss", loss)
    stored.check("flow_dito/x0_from_pred_t0", path.data(points, -minus_velocity, times)[:1])
    stored.check_gradients("flow_dito/grad/", {name: network.weights[name.replace(".", "_")].grad for name in stored.weights})
    others = ("ect_", "meanflow/", "cm/", "cm_schedule/")  # of consistency models and mean flows, which are not here
    assert {name for name in stored.unchecked() if not name.startswith(others)} == set()
