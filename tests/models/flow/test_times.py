"""Times of training are drawn as often as their densities say; grids of solvers end where they should."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from tests.parity import Stored
from vtok.models.flow.path import RECTIFIED
from vtok.models.flow.times import AnyTimes, ConstantTimes, LogitNormalTimes, ModeTimes, TimeDistribution, UniformTimes, shifted, time_grid

KINDS: list[AnyTimes] = [
    UniformTimes(),
    ModeTimes(),
    ModeTimes(scale=1.75),
    ModeTimes(scale=-1),
    LogitNormalTimes(),
    LogitNormalTimes(uniform_share=0),
    LogitNormalTimes(uniform_share=1),
    LogitNormalTimes(mean=-1, std=0.5, uniform_share=0.3),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)
Cdf = Callable[[np.ndarray], np.ndarray]


def cdf_of(kind: AnyTimes) -> Cdf:
    """Share of the draws up to a time, by another way than that of the draws."""
    from scipy.special import logit, ndtr

    if isinstance(kind, ModeTimes):
        rising = np.linspace(0, 1, 200_001)  # 1 - the draw, by which times rise
        times = rising - kind.scale * (np.sin(np.pi / 2 * rising) ** 2 - rising)
        return lambda t: np.interp(t, times, rising)
    if isinstance(kind, LogitNormalTimes):
        even = kind.uniform_share
        return lambda t: even * t + (1 - even) * ndtr((logit(t) - kind.mean) / kind.std)
    return lambda t: t


def draws(count: int = 20_000, seed: int = 0) -> Tensor:
    return torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def extremes() -> Tensor:
    """The ends of [0, 1), and draws near them."""
    least = torch.tensor([0.0, 1e-300, 2**-53, 1e-9], dtype=torch.float64)
    return torch.cat([least, 1 - least[2:], draws()])


@pytest.mark.parametrize("time", [0.0, 0.25, 1.0])
def test_a_constant_time_is_drawn_always(time: float) -> None:
    assert set(ConstantTimes(time=time).at(extremes()).tolist()) == {time}


@every_kind
def test_each_time_is_drawn_as_often_as_its_density_says(kind: AnyTimes) -> None:
    stats = pytest.importorskip("scipy.stats", reason="needs the extra `eval`")
    assert stats.kstest(kind.at(draws()).numpy(), cdf_of(kind)).pvalue > 0.01


@every_kind
def test_the_test_of_densities_knows_one_from_another(kind: AnyTimes) -> None:
    stats = pytest.importorskip("scipy.stats", reason="needs the extra `eval`")
    others = [other for other in KINDS if other != kind and {other, kind} != {UniformTimes(), LogitNormalTimes(uniform_share=1)}]
    assert max(stats.kstest(kind.at(draws()).numpy(), cdf_of(other)).pvalue for other in others) < 0.01


def test_mode_sampling_is_symmetric_and_has_the_published_height_in_the_middle() -> None:
    for scale in (-1, 0, 0.25, 1.29):
        times = ModeTimes(scale=scale).at((torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000)
        torch.testing.assert_close(times.flip(0), 1 - times)
        in_the_middle = ((times > 0.499) & (times < 0.501)).double().mean() / 0.002
        assert float(in_the_middle) == pytest.approx(1 / (1 + scale - scale * math.pi / 2), rel=0.01)


@every_kind
def test_times_lie_between_0_and_1(kind: AnyTimes) -> None:
    times = kind.at(extremes())
    assert times.dtype == torch.float64
    assert 0 <= float(times.min()) <= float(times.max()) <= 1
    assert 0 <= float(times.float().min()) <= float(times.float().max()) <= 1


@pytest.mark.parametrize("scale", [-1, 0, 0.25, 1.75])
def test_mode_sampling_has_one_draw_for_each_time(scale: float) -> None:
    shares = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    times = ModeTimes(scale=scale).at(shares)
    assert bool((times.diff() < 0).all())
    assert times[[0, -1]].tolist() == pytest.approx([1, 0], abs=1e-15)


def test_logit_normal_times_rise_with_the_draws_and_the_first_of_these_are_evenly_spread() -> None:
    shares = torch.linspace(0, 1, 1001, dtype=torch.float64)[:-1]
    times = LogitNormalTimes(uniform_share=0.1).at(shares)
    torch.testing.assert_close(times[:100], shares[:100] / 0.1)
    assert bool((times[100:].diff() > 0).all())
    assert float(times[550]) == pytest.approx(0.5)


def test_every_draw_is_a_time_when_times_are_uniform() -> None:
    assert torch.equal(UniformTimes().at(draws()), draws())


# --- settings


def test_a_distribution_is_named_or_spelt_out() -> None:
    settings: TypeAdapter[Any] = TypeAdapter(TimeDistribution)
    assert settings.validate_python("uniform") == UniformTimes()
    assert settings.validate_python("mode") == ModeTimes(scale=0.25)
    assert settings.validate_python({"kind": "logit_normal", "mean": 0.5}) == LogitNormalTimes(mean=0.5, std=1, uniform_share=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        "cosine",
        {"kind": "mode", "scale": 1.76},
        {"kind": "mode", "scale": -1.01},
        {"kind": "mode", "std": 1},
        {"kind": "logit_normal", "std": 0},
        {"kind": "logit_normal", "mean": math.inf},
        {"kind": "logit_normal", "uniform_share": 1.1},
        {"kind": "uniform", "scale": 1},
    ],
)
def test_a_distribution_that_there_is_not_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(TimeDistribution).validate_python(wrong)


# --- grids


@pytest.mark.parametrize("shift", [1.0, 0.1, 0.3, 3.0, 100.0])
@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
def test_a_grid_falls_from_1_to_0(steps: int, shift: float) -> None:
    grid = time_grid(steps, shift=shift)
    assert len(grid) == steps + 1
    assert (grid[0], grid[-1]) == (1.0, 0.0)  # to the bit: the step to data is another
    assert all(then < now for now, then in pairwise(grid))


def test_a_grid_without_a_shift_is_evenly_spaced() -> None:
    assert time_grid(4) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert time_grid(10) == [i / 10 for i in range(10, -1, -1)]


def test_a_shift_moves_times_toward_noise_or_data_and_back() -> None:
    times = torch.linspace(0, 1, 11, dtype=torch.float64)
    for shift in (3.0, 0.2):
        moved = shifted(times, shift)
        torch.testing.assert_close(moved, shift * times / (1 + (shift - 1) * times))
        assert bool(((moved > times) == (shift > 1))[1:-1].all())
        torch.testing.assert_close(shifted(moved, 1 / shift), times)
    assert time_grid(2, shift=3.0) == pytest.approx([1, 0.75, 0])


# --- stored values


@pytest.mark.parity
def test_times_and_points_of_flextoks_training() -> None:
    stored = Stored.load("flextok_noise")
    scales, normal = stored.config["sizes"]["mode_scales"], LogitNormalTimes(uniform_share=0)
    drawn = {name.removesuffix("/draw"): value.double() for name, value in stored.inputs.items() if name.endswith("/draw")}
    num_samples = len(stored.inputs["clean"])
    times = {
        "uniform": UniformTimes().at(drawn["uniform"]),
        "logit_normal": normal.at(torch.special.ndtr(drawn["logit_normal"])),
        "logit_normal_stratified": normal.at((torch.arange(num_samples) + drawn["logit_normal_stratified"]) / num_samples),
    } | {name: ModeTimes(scale=scale).at(drawn[name]) for name, scale in scales.items()}
    for name, own in times.items():
        stored.check(f"{name}/sigmas", own)
        stored.check(f"{name}/noised", RECTIFIED.at(stored.inputs["clean"], stored.inputs[f"{name}/noise"], own))
    assert stored.unchecked() == set()
