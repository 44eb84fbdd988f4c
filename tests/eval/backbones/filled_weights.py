"""Weights for networks whose files are too large to store: a hash of each place, by the rule of the fixture `inception_fid`."""

import math
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from vtok.eval.backbones.inception import Inception


def filled(key: str, shape: tuple[int, ...]) -> Tensor:
    """One tensor of the FID's Inception, by its key."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    u = hashed(key, math.prod(shape))
    values = {"running_mean": 0.1 * u, "running_var": 1 + 0.5 * u, "bias": 0.1 * u}
    last = key.rpartition(".")[2]
    weight = 1 + 0.3 * u if len(shape) == 1 else math.sqrt(6 / math.prod(shape[1:])) * u
    return torch.from_numpy(values.get(last, weight).reshape(shape).astype(np.float32))


def hashed(key: str, count: int) -> np.ndarray:
    """Numbers in [-1, 1), float64."""
    h = (np.arange(count, dtype=np.uint64) * 2654435761 + zlib.crc32(key.encode())) % 2**32
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor) % 2**32
    return (h ^ (h >> np.uint64(16))) / 2**31 - 1


def inception_state() -> dict[str, Tensor]:
    """All tensors of the FID's Inception."""
    with torch.device("meta"):
        network = Inception()
    return {key: filled(key, tuple(value.shape)) for key, value in network.state_dict().items()}


def inception_file(folder: Path) -> Path:
    """The same as a file, whose digest is not the published one."""
    file = folder / "inception.safetensors"
    save_file(inception_state(), file)
    return file
