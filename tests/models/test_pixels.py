"""Pixels as latents: an orthonormal transform that leaves out high frequencies."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from vtok.errors import ConfigError
from vtok.models.autoencoders import build
from vtok.models.autoencoders.pixels import Pixels
from vtok.models.autoencoders.registry import PixelsConfig

SIZES = st.integers(2, 9).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size), st.integers(1, size)))


def pictures(size: int, rows: int = 2, cols: int = 3) -> Tensor:
    return torch.rand(2, 3, rows * size, cols * size, generator=torch.Generator().manual_seed(size))


def energy(x: Tensor) -> float:
    return float(x.double().square().sum())


@given(sizes=SIZES)
@settings(deadline=None, max_examples=30)
def test_decoding_what_was_encoded_is_a_projection(sizes: tuple[int, int, int]) -> None:
    pixels = Pixels(*sizes)
    images = pictures(sizes[0])
    once = pixels.decode(pixels.encode(images))
    torch.testing.assert_close(pixels.decode(pixels.encode(once)), once, rtol=0, atol=1e-5)
    assert energy(images) == pytest.approx(energy(once) + energy(images - once), rel=1e-5)


@given(sizes=SIZES)
@settings(deadline=None, max_examples=30)
def test_an_error_of_the_latents_is_the_error_of_the_pixels(sizes: tuple[int, int, int]) -> None:
    pixels = Pixels(*sizes)
    generator = torch.Generator().manual_seed(0)
    latents, others = torch.randn(2, 2, pixels.channels, 2, 3, generator=generator)
    assert energy(pixels.decode(latents) - pixels.decode(others)) == pytest.approx(energy(latents - others), rel=1e-5)


@given(sizes=SIZES)
@settings(deadline=None, max_examples=30)
def test_latents_come_back_from_their_pixels(sizes: tuple[int, int, int]) -> None:
    pixels = Pixels(*sizes)
    latents = torch.randn(2, pixels.channels, 3, 1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pixels.encode(pixels.decode(latents)), latents, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [2, 5, 8, 64])
def test_all_frequencies_kept_lose_nothing(size: int) -> None:
    pixels = Pixels(size, size, size)
    images = pictures(size)
    assert pixels.channels == 3 * size * size
    torch.testing.assert_close(pixels.decode(pixels.encode(images)), images, rtol=0, atol=2e-6)


def test_the_map_has_a_cell_a_square_and_a_channel_a_frequency() -> None:
    pixels = Pixels(8, 4, 2)
    assert (pixels.downsample, pixels.channels) == (8, 16 + 4 + 4)
    assert pixels.encode(pictures(8)).shape == (2, 24, 2, 3)


def test_flat_grey_is_one_number_a_square() -> None:
    pixels = Pixels(8, 4, 2)
    latents = pixels.encode(torch.full((1, 3, 8, 16), 0.25))
    torch.testing.assert_close(latents[:, 0], torch.full((1, 1, 2), 0.25 * 8 * math.sqrt(3)))
    assert float(latents[:, 1:].abs().max()) < 1e-5


def test_a_smooth_picture_survives_where_its_frequencies_are_kept() -> None:
    x = (torch.arange(8) + 0.5) * math.pi / 8
    images = (0.5 + 0.2 * torch.cos(x)[:, None] * torch.cos(2 * x)).expand(1, 3, 8, 8)
    torch.testing.assert_close(Pixels(8, 3, 1).decode(Pixels(8, 3, 1).encode(images)), images, rtol=0, atol=1e-6)
    lost = images - Pixels(8, 2, 1).decode(Pixels(8, 2, 1).encode(images))
    torch.testing.assert_close(lost, images - 0.5, rtol=0, atol=1e-6)


def test_squares_do_not_mix() -> None:
    pixels = Pixels(4, 2, 1)
    images = pictures(4)
    changed = images.clone()
    changed[:, :, 4:, 8:] = 0
    same = (pixels.encode(images) == pixels.encode(changed)).all(1)  # (2, 2, 3)
    assert same.tolist() == [[[True, True, True], [True, True, False]]] * 2


def test_nothing_is_stored() -> None:
    assert Pixels(8, 4, 2).state_dict() == {}


@pytest.mark.parametrize(("bright", "colour"), [(9, 2), (4, 9)])
def test_more_frequencies_than_pixels_are_refused(bright: int, colour: int) -> None:
    with pytest.raises((ConfigError, ValidationError)):
        build(PixelsConfig(size=8, bright=bright, colour=colour))
