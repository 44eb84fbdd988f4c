"""The contract of a tower."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of the pictures CLIP was trained on
HALF = (0.5, 0.5, 0.5)  # as mean and deviation: values from -1 to 1


class Shown(nn.Module):
    """Images (B, 3, H, W) in [0, 1] as a network takes them.

    Args:
        mean, std: of each channel; they become 0 and 1.
    """

    mean: Tensor  # (1, 3, 1, 1)
    std: Tensor

    def __init__(self, mean: tuple[float, ...] = HALF, std: tuple[float, ...] = HALF):
        super().__init__()
        with torch.device("cpu"):  # a model that is made without values, to be given those of a file, is not given these
            for name, values in (("mean", mean), ("std", std)):
                self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class Tower(nn.Module, ABC):
    """Images to features of their patches."""

    dim: int  # of a feature
    patch_size: int  # pixels along a side of the square that a feature stands for
    shown: Shown

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [0, 1] to features (B, (S // patch_size)^2, dim), row by row."""

    @abstractmethod
    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether blocks are computed again in the backward pass, which saves memory."""
