"""Pictures of a chunk as batches of one size that fit into memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from vtok.eval.run.prepared import Picture, Pictures

_PIXELS = 1 << 22  # of a batch; a larger picture is one by itself


def batches(pictures: Pictures) -> Iterator[list[Picture]]:
    """Pictures of one size, as many as have about four million pixels."""
    for same in pictures.by_size():
        height, width = same[0].pixels.shape[:2]
        most = max(1, _PIXELS // (height * width))
        for first in range(0, len(same), most):
            yield same[first : first + most]


def stacked(pictures: Sequence[Picture]) -> np.ndarray:
    """(B, H, W, 3) uint8."""
    return np.stack([picture.pixels for picture in pictures])


def as_tensor(pixels: np.ndarray) -> Tensor:
    """(B, H, W, 3) to (B, 3, H, W), uint8."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def in_order(indices: Sequence[int], parts: Sequence[Tensor]) -> Tensor:
    """Parts (b, ...) of the pictures `indices`, one after another, as one tensor in rising order of the indices."""
    return torch.cat(list(parts))[torch.tensor(indices).argsort()]
