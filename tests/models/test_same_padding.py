"""Padding that keeps ceil(n / stride) places."""

import pytest
import torch
from torch.nn.functional import conv2d

from vtok.models.same_padding import pad_same


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_convolution_then_gives_one_place_for_each_stride(kernel_size: int, stride: int) -> None:
    for side in range(1, 12):
        maps = pad_same(torch.ones(1, 1, side, 7), kernel_size, stride)
        found = conv2d(maps, torch.ones(1, 1, kernel_size, kernel_size), stride=stride)
        assert found.shape[2:] == (-(-side // stride), -(-7 // stride))


@pytest.mark.parametrize(("side", "before", "after"), [(6, 1, 1), (5, 1, 2), (2, 1, 1), (1, 1, 2)])
def test_an_odd_number_of_zeros_puts_one_more_at_the_end(side: int, before: int, after: int) -> None:
    padded = pad_same(torch.ones(1, 1, side, 6), 4, 2)[0, 0, :, 3]
    assert padded.tolist() == [0] * before + [1] * side + [0] * after


def test_rows_and_columns_are_padded_by_their_own_sizes() -> None:
    assert pad_same(torch.ones(2, 3, 5, 6), 4, 2).shape == (2, 3, 8, 8)


def test_an_odd_kernel_at_stride_one_is_padded_as_convolutions_do() -> None:
    maps, kernel = torch.rand(1, 2, 7, 6), torch.rand(1, 2, 5, 5)
    torch.testing.assert_close(conv2d(pad_same(maps, 5), kernel), conv2d(maps, kernel, padding=2))
