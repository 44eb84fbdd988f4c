"""The decoder's metric: its estimate from backward passes, and its roots."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import conv_transpose2d

from vtok.train.closed_form.metric import MetricKernel, pull_back, roots, symmetric

CHANNELS, STRIDE, SIDE = 2, 2, 5
KERNEL = torch.randn(CHANNELS, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))  # of a decoder that is one convolution


def decode(latents: Tensor) -> Tensor:
    return conv_transpose2d(latents, KERNEL, stride=STRIDE)


def seen(pictures: Tensor) -> list[Tensor]:
    return [pictures / math.sqrt(pictures.numel())]


def overlap(first: int, second: int, down: int, across: int) -> float:
    """What the squared error gains when a unit in `first` here meets one in `second`, `down` and `across` cells away."""
    here = torch.zeros(1, CHANNELS, 9, 9)
    there = torch.zeros(1, CHANNELS, 9, 9)
    here[0, first, 4, 4] = 1
    there[0, second, 4 + down, 4 + across] = 1
    return float((decode(here) * decode(there)).sum())


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(cells=st.integers(1, 4), more=st.tuples(st.integers(0, 5), st.integers(0, 5)), channels=st.integers(1, 3), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_the_kernel_is_the_mean_product_of_cells_an_offset_apart(cells: int, more: tuple[int, int], channels: int, seed: int) -> None:
    height, width = cells + more[0], cells + more[1]
    gradient = normal(channels, height, width, seed=seed)
    kernel = MetricKernel(channels, cells)
    kernel.add(gradient)
    matrix = kernel.matrix().view(channels, cells, cells, channels, cells, cells)
    for down in range(-cells + 1, cells):
        for across in range(-cells + 1, cells):
            here = gradient[:, max(0, -down) : height - max(0, down), max(0, -across) : width - max(0, across)]
            there = gradient[:, max(0, down) : height - max(0, -down), max(0, across) : width - max(0, -across)]
            wanted = torch.einsum("cyx,dyx->cd", here, there).double() / (height * width)
            y, x = max(0, -down), max(0, -across)
            torch.testing.assert_close(matrix[:, y, x, :, y + down, x + across], wanted, rtol=1e-4, atol=1e-5)


def test_the_matrix_depends_on_the_offset_only() -> None:
    kernel = MetricKernel(2, 3)
    kernel.add(normal(2, 7, 8))
    matrix = kernel.matrix().view(2, 3, 3, 2, 3, 3)
    torch.testing.assert_close(matrix[:, :2, :2, :, :2, :2], matrix[:, 1:, 1:, :, 1:, 1:])


def test_the_matrix_is_symmetric_and_never_negative() -> None:
    kernel = MetricKernel(3, 4)
    for seed in range(3):
        kernel.add(normal(3, 6, 5, seed=seed))
    matrix = kernel.matrix()
    assert torch.equal(matrix, matrix.T)
    assert float(torch.linalg.eigvalsh(matrix).min()) > -1e-6


def test_pictures_count_by_their_cells() -> None:
    small, large = normal(1, 3, 3), normal(1, 8, 9, seed=1)
    kernel = MetricKernel(1, 1)
    kernel.add(small)
    kernel.add(large)
    mean = float((small.square().sum() + large.square().sum()) / (9 + 72))
    assert float(kernel.matrix()) == pytest.approx(mean, rel=1e-5)


def test_a_pass_is_the_jacobian_on_white_noise() -> None:
    latents = normal(1, CHANNELS, 3, 4)
    found = pull_back(decode, lambda pictures: [pictures], latents, torch.Generator().manual_seed(5))
    jacobian = torch.autograd.functional.jacobian(decode, latents).view(-1, latents.numel())
    noise = torch.randn(decode(latents).shape, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(found.flatten(), math.sqrt(12) * noise.flatten() @ jacobian, rtol=1e-4, atol=1e-4)


def test_each_map_of_a_view_has_its_own_noise() -> None:
    latents = normal(1, CHANNELS, 3, 4)
    found = pull_back(decode, lambda pictures: [pictures, 2 * pictures[:, :1]], latents, torch.Generator().manual_seed(5))
    jacobian = torch.autograd.functional.jacobian(decode, latents).view(*decode(latents).shape, latents.numel())
    generator = torch.Generator().manual_seed(5)
    first, second = (torch.randn(decode(latents)[:, :n].shape, generator=generator) for n in (3, 1))
    wanted = torch.einsum("bcyx,bcyxd->d", first, jacobian) + 2 * torch.einsum("bcyx,bcyxd->d", second, jacobian[:, :1])
    torch.testing.assert_close(found.flatten(), math.sqrt(12) * wanted, rtol=1e-4, atol=1e-4)


def test_the_metric_of_a_convolution_is_found() -> None:
    """Cells at the border of a map have fewer neighbours, which is known and taken out here."""
    side, cells = 24, 3
    generator = torch.Generator().manual_seed(0)
    kernel = MetricKernel(CHANNELS, cells)
    latents = normal(1, CHANNELS, side, side)
    share = side * side / decode(latents).numel()
    wanted = torch.zeros(CHANNELS, cells, cells, CHANNELS, cells, cells, dtype=torch.float64)
    for index in torch.cartesian_prod(*(torch.arange(n) for n in wanted.shape)).tolist():
        first, y, x, second, v, u = index
        border = (1 - abs(v - y) / side) * (1 - abs(u - x) / side)
        wanted[first, y, x, second, v, u] = share * border * overlap(first, second, v - y, u - x)
    dim = CHANNELS * cells * cells
    errors = []
    for _ in range(256):
        kernel.add(pull_back(decode, seen, latents, generator))
        errors.append(float((kernel.matrix() - wanted.view(dim, dim)).norm() / wanted.norm()))
    assert errors[-1] < 0.02
    assert errors[-1] < 0.2 * errors[0]


def test_the_pass_leaves_the_latents_without_gradient() -> None:
    latents = normal(1, CHANNELS, 3, 3)
    with torch.enable_grad():
        assert not pull_back(decode, seen, latents, torch.Generator().manual_seed(0)).requires_grad
    assert not latents.requires_grad


@st.composite
def metrics(draw: st.DrawFn) -> tuple[Tensor, float]:
    dim = draw(st.integers(1, 8))
    rank = draw(st.integers(1, dim))
    factor = normal(dim, rank, seed=draw(st.integers(0, 99))).double() * draw(st.floats(0.01, 100))
    return symmetric(factor @ factor.T), draw(st.floats(0.01, 10))


@given(metric=metrics())
@settings(deadline=None)
def test_roots_undo_each_other(metric: tuple[Tensor, float]) -> None:
    root, inverse = roots(*metric)
    torch.testing.assert_close(root @ inverse, torch.eye(len(root), dtype=torch.float64), rtol=0, atol=1e-8)
    assert torch.equal(root, root.T)
    assert torch.equal(inverse, inverse.T)


@given(metric=metrics())
@settings(deadline=None)
def test_a_root_squared_is_the_metric_and_its_floor(metric: tuple[Tensor, float]) -> None:
    matrix, floor = metric
    root, _ = roots(matrix, floor)
    raised = matrix + floor * matrix.trace() / len(matrix) * torch.eye(len(matrix), dtype=torch.float64)
    torch.testing.assert_close(root @ root, raised, rtol=1e-8, atol=1e-8 * float(raised.abs().max()))


def test_no_direction_is_blown_up_beyond_the_floor() -> None:
    matrix = torch.diag(torch.tensor([3.0, 1e-9, 0.0, -1e-7], dtype=torch.float64))  # estimates may fall below zero
    _, inverse = roots(matrix, 0.1)
    assert float(torch.linalg.eigvalsh(inverse).max()) < 1.001 / math.sqrt(0.1 * 0.75)
