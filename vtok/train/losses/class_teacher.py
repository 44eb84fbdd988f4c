"""What a frozen vision transformer says of a whole picture: its class token."""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from vtok.models.towers.base import CLIP_MEAN, CLIP_STD
from vtok.train.losses.local_tower import local_tower

RANDOM = "random"
SIDE = 224  # pixels that the towers are shown
KINDS = {  # of `model_type` in a tower's configuration: the class in transformers, mean and deviation of the pictures it was trained on
    "clip": ("CLIPVisionModel", CLIP_MEAN, CLIP_STD),
    "dinov2": ("Dinov2Model", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class ClassTeacher(nn.Module):
    """A tower of the library transformers. The token is that after its last block; DINOv2's is normed, CLIP's is not.

    Args:
        tower: takes normed pictures (B, 3, 224, 224), gives `last_hidden_state` (B, 1 + L, dim).
        mean, std: of the pictures that it was trained on.
        dim: width of its tokens.
    """

    mean: Tensor  # (1, 3, 1, 1)
    std: Tensor

    def __init__(self, tower: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], dim: int):
        super().__init__()
        self.tower = tower
        self.dim = dim
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def shown(self, images: Tensor) -> Tensor:
        """What the tower is shown of images (B, 3, H, W) in [0, 1]: the nearest pixels, as in the published training."""
        return (interpolate(images, (SIDE, SIDE), mode="nearest") - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, dim) of images (B, 3, H, W) in [0, 1]."""
        features: Tensor = self.tower(self.shown(images)).last_hidden_state[:, 0]
        return features


class RandomTeacher(nn.Module):
    """Fixed random mixtures of a picture's colours in 4 x 4 fields: no weights needed, for checks that training works."""

    dim = 16
    table: Tensor  # (48, dim)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(48, self.dim, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, dim) of images (B, 3, H, W) in [0, 1]."""
        return (adaptive_avg_pool2d(images, 4).flatten(1) - 0.5) @ self.table


def class_teacher(name: str) -> ClassTeacher | RandomTeacher:
    """A tower with its weights.

    Args:
        name: of a CLIP or a DINOv2, see `local_tower.local_tower`. "random": `RandomTeacher`.

    Raises:
        MissingExtraError, WeightsError, ConfigError: as `local_tower`.
    """
    if name == RANDOM:
        return RandomTeacher()
    kind, tower = local_tower(name, {kind: class_name for kind, (class_name, _, _) in KINDS.items()})
    _, mean, std = KINDS[kind]
    return ClassTeacher(tower, mean, std, int(tower.config.hidden_size))
