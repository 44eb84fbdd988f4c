"""Noise by seed and place: the same in every window, batch and process, and normal."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from tests.conftest import CHECKOUT
from tests.threads import threads
from vtok.models.flow.noise import BLOCK, noise_field

WHOLE = (40, 56)  # cells of the picture that windows are cut from


def whole(seed: int = 7, channels: int = 3) -> Tensor:
    return noise_field(seed, channels, 0, 0, *WHOLE)


@pytest.mark.parametrize(("top", "left"), [(0, 0), (8, 16), (1, 0), (0, 55), (39, 3), (7, 9), (13, 21), (15, 17)])
@pytest.mark.parametrize("size", [(1, 1), (3, 20), (8, 8), (16, 16), (17, 5)])
def test_a_window_anywhere_shows_its_part_of_the_picture(top: int, left: int, size: tuple[int, int]) -> None:
    height, width = (min(side, end - start) for side, end, start in zip(size, WHOLE, (top, left), strict=True))
    found = noise_field(7, 3, top, left, height, width)
    assert torch.equal(found, whole()[:, top : top + height, left : left + width])


def test_windows_far_away_agree_where_they_overlap() -> None:
    far = 10**6 + 3
    above, below = (noise_field(1, 2, far + down, far, 20, 12) for down in (0, 13))
    assert torch.equal(above[:, 13:], below[:, :7])


def test_other_seeds_and_other_places_have_other_noise() -> None:
    windows = [noise_field(seed, 1, top, left, BLOCK, BLOCK) for seed in (0, 1, 2**63 - 1) for top in (0, 8, 16) for left in (0, 8, 16)]
    assert len({tuple(window.flatten().tolist()) for window in windows}) == len(windows)
    correlations = torch.corrcoef(torch.stack([window.flatten() for window in windows])).fill_diagonal_(0)
    assert float(correlations.abs().max()) < 0.6  # a deviation is 1 / sqrt(64)


def test_cells_and_channels_all_differ() -> None:
    assert len(whole().flatten().unique()) > 0.999 * whole().numel()


def test_it_is_standard_normal() -> None:
    stats = pytest.importorskip("scipy.stats", reason="needs the extra `eval`")
    drawn = noise_field(3, 4, 0, 0, 200, 200)
    count = drawn.numel()
    assert float(drawn.mean()) == pytest.approx(0, abs=4 / count**0.5)
    assert float(drawn.var()) == pytest.approx(1, abs=4 * (2 / count) ** 0.5)
    assert stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 0.01


def test_neighbours_know_nothing_of_each_other_within_a_block_or_across_its_edge() -> None:
    drawn = noise_field(3, 4, 0, 0, 200, 200)
    for axis in (0, 1, 2):
        ahead, behind = drawn.narrow(axis, 1, drawn.shape[axis] - 1), drawn.narrow(axis, 0, drawn.shape[axis] - 1)
        assert float((ahead * behind).mean()) == pytest.approx(0, abs=4 / ahead.numel() ** 0.5)
    edges = drawn[:, BLOCK::BLOCK] * drawn[:, BLOCK - 1 : -1 : BLOCK]
    assert float(edges.mean()) == pytest.approx(0, abs=4 / edges.numel() ** 0.5)


def test_it_is_float32_and_spends_nothing_of_the_global_generator() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert whole().dtype == torch.float32
    assert torch.equal(torch.rand(3), expected)


def test_it_does_not_depend_on_the_number_of_threads() -> None:
    with threads(1):
        one = noise_field(5, 16, 0, 0, 64, 64)
    with threads(2):
        assert torch.equal(noise_field(5, 16, 0, 0, 64, 64), one)


def test_another_process_draws_the_same() -> None:
    program = "from vtok.models.flow.noise import noise_field; print(noise_field(7, 3, 5, 13, 2, 3).tolist())"
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(noise_field(7, 3, 5, 13, 2, 3).tolist())


def test_it_is_the_noise_of_pictures_that_were_decoded_before() -> None:
    """Stored values: with others, the same file and seed would become another picture. Processors round the last digits differently."""
    found, of_the_last_seed = noise_field(7, 2, 5, 13, 20, 20), noise_field(2**63 - 1, 2, 0, 0, 1, 2)
    assert found[0, 0, :4].tolist() == pytest.approx([0.0505191, 0.4966733, 0.7048927, 0.1615132], abs=1e-5)
    assert found[1, 19, -4:].tolist() == pytest.approx([2.3460664, 1.4191135, 0.2854376, -0.1366229], abs=1e-5)
    assert of_the_last_seed.flatten().tolist() == pytest.approx([-0.9989633, -2.8857400, 0.2253457, 0.1436983], abs=1e-5)
