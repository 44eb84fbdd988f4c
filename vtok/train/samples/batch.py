"""What one step of training works on."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """One process's share of a step's samples, or a part of it.

    Args:
        images: (B, 3, S, S) float in [0, 1].
        latents: (B, C, S / downsample, S / downsample) float, cut from the frozen autoencoder's latents of the whole pictures; None where
            the data has none.
        indices: (B,) int64 on the CPU, index of each sample in the global batch; together with seed and step it decides every random draw.
        step: from 0.
        captions: what each image shows in words; None where the run does not ask for them (`data.captions`).
    """

    images: Tensor
    latents: Tensor | None
    indices: Tensor
    step: int
    captions: tuple[str, ...] | None = None

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.images.device


@dataclass(frozen=True, eq=False)
class StringBatch:
    """As `Batch`, of strings of tokens.

    Args:
        ids: (B, N, K) int64.
        lengths: (B,) int64 tokens that count.
        classes: (B,) int64; None where the data has none.
        indices, step: as of `Batch`.
    """

    ids: Tensor
    lengths: Tensor
    classes: Tensor | None
    indices: Tensor
    step: int

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.ids.device
