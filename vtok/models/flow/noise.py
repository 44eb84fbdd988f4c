"""Noise that depends on a seed and a place in the picture alone, so that neither a batch nor the cutting into tiles changes it."""

import hashlib

import torch
from torch import Tensor

BLOCK = 8  # cells a side of what one generator draws


def noise_field(seed: int, channels: int, top: int, left: int, height: int, width: int) -> Tensor:
    """Standard normal noise (channels, height, width) float32 of a window of an endless picture.

    Windows of one seed that overlap agree where they do.

    Args:
        seed: at least 0.
        top, left: cells of the window's corner in the picture.
    """
    first_row, first_col = top // BLOCK, left // BLOCK
    last_row, last_col = (top + height - 1) // BLOCK, (left + width - 1) // BLOCK
    rows = [
        torch.cat([_block(seed, channels, row, col) for col in range(first_col, last_col + 1)], 2) for row in range(first_row, last_row + 1)
    ]
    up, start = top - first_row * BLOCK, left - first_col * BLOCK
    return torch.cat(rows, 1)[:, up : up + height, start : start + width]


def _block(seed: int, channels: int, row: int, col: int) -> Tensor:
    place = hashlib.sha256(f"{seed} {row} {col}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(place[:8], "little", signed=False) >> 1)
    return torch.randn(channels, BLOCK, BLOCK, generator=generator)
