"""The search for the best code: exact, the first of equals, whole or in blocks, in little memory."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from tests.threads import threads
from vtok.models.quantizers import nearest
from vtok.models.quantizers.nearest import assign, best


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("num_codes", [1, 2, 3, 50, 1000, nearest.CODES_AT_ONCE + 1])
@pytest.mark.parametrize("dim", [1, 8, 64])
@pytest.mark.parametrize("num_points", [5, 300])
def test_the_nearest_code_is_found(num_points, num_codes, dim):
    points, codes = randn(num_points, dim), randn(num_codes, dim, seed=1)
    squares = torch.cdist(points.double(), codes.double()).square()
    found = squares.gather(1, assign(points, codes)[:, None])[:, 0]
    torch.testing.assert_close(found, squares.amin(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("offsets", [None, 3 * randn(500, seed=2)], ids=["none", "given"])
def test_the_largest_product_with_its_offset_is_found(offsets):
    points, codes = randn(300, 8), randn(500, 8, seed=1)
    scores = points.double() @ codes.double().T + (0 if offsets is None else offsets)
    assert torch.equal(best(points, codes, offsets), scores.argmax(1))


@pytest.mark.parametrize("codes_at_once", [7, 64, nearest.CODES_AT_ONCE])
@pytest.mark.parametrize("num_points", [1, 31, 32, 200])
def test_the_first_of_equal_codes_is_found(num_points, codes_at_once, monkeypatch):
    monkeypatch.setattr(nearest, "CODES_AT_ONCE", codes_at_once)
    points, codes = randn(num_points, 8), randn(64, 8, seed=1).repeat(5, 1)
    assert torch.equal(assign(points, codes), assign(points, codes[:64]))
    assert not bool(assign(points, torch.zeros(300, 8)).any())


@pytest.mark.parametrize("scores_at_once", [1, 999, 2**21])
@pytest.mark.parametrize("codes_at_once", [1, 10, 10_000])
def test_blocks_do_not_matter(scores_at_once, codes_at_once, monkeypatch):
    points, codes = randn(101, 4), randn(103, 4, seed=1)
    expected = torch.cdist(points.double(), codes.double()).argmin(1)
    monkeypatch.setattr(nearest, "SCORES_AT_ONCE", scores_at_once)
    monkeypatch.setattr(nearest, "CODES_AT_ONCE", codes_at_once)
    assert torch.equal(assign(points, codes), expected)


@pytest.mark.parametrize("dim", [4, 32])
def test_neither_threads_nor_the_other_points_matter(dim):
    points, codes = randn(1500, dim), randn(3000, dim, seed=1)
    with threads(1):
        one = assign(points, codes)
    with threads(2):
        two = torch.cat([assign(part, codes) for part in points.split(37)])  # the last of them has 20
    assert torch.equal(one, two)


def test_no_points_have_no_codes():
    assert assign(randn(0, 4), randn(5, 4)).shape == (0,)


def test_columns_of_larger_tensors_are_taken_as_they_are():
    points, codes = randn(40, 6), randn(30, 6, seed=1)
    assert torch.equal(assign(points[:, 1:4], codes[:, 2:5]), assign(points[:, 1:4].contiguous(), codes[:, 2:5].contiguous()))


def test_autocast_changes_nothing():
    points, codes = randn(500, 8), randn(1000, 8, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = assign(points, codes)
    assert torch.equal(inside, assign(points, codes))


def test_codes_that_take_gradients_are_searched_without_them():
    codes = randn(30, 4).requires_grad_()
    assert not best(randn(5, 4, seed=1).requires_grad_(), codes, codes.sum(1)).requires_grad


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("num_points", [3, 40])
def test_ids_are_those_of_codes_whatever_the_points(num_points, value):
    found = assign(torch.full((num_points, 4), value), randn(10, 4))
    assert bool(((found >= 0) & (found < 10)).all())


def test_a_compiled_graph_holds_the_search_whole():
    codes = randn(300, 4)
    search = torch.compile(lambda points: assign(points, codes) + 1, fullgraph=True, backend="eager")
    points = randn(50, 4, seed=1)
    assert torch.equal(search(points), assign(points, codes) + 1)


def test_memory_is_bounded():
    code = (
        "import resource, torch\n"
        "from vtok.models.quantizers.nearest import assign\n"
        "torch.set_num_threads(1)\n"
        "def search(points, codes):\n"
        "    assign(torch.randn(points, 4), torch.randn(codes, 4))\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = search(8, 64)\n"
        "print(search(4096, 2**16) - before)\n"
    )
    grown = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert grown < 60e6  # all scores are 1.07 GB
