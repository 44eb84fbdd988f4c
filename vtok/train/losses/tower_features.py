"""Vectors that are to tell what a frozen tower says of each place of a picture (TokenFlow, arXiv 2412.03069)."""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from vtok.errors import ConfigError
from vtok.models.towers import AnyTower
from vtok.train.losses.frozen_network import FrozenNetwork
from vtok.train.losses.tower_teacher import RANDOM, RandomTeacher, TowerTeacher, tower_teacher


class TowerFeatureConfig(BaseModel):
    """What is told.

    Args:
        teacher: see `tower_teacher.tower_teacher`; "random": `tower_teacher.RandomTeacher`, for checks.
        weight: of the loss.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    teacher: str
    weight: float = Field(1.0, gt=0)


class TowerFeatureLoss(nn.Module):
    """1 - the cosine between what the tower says and what is told of it, the mean over places.

    Args:
        config: the settings.
        tower: sizes.
        image_size: of all pictures, pixels a side.
        dim: numbers that are told of a place.

    Raises:
        MissingExtraError, WeightsError: the tower is not at hand, or of other sizes.
        ConfigError: it is of another kind, or says other numbers.
    """

    def __init__(self, config: TowerFeatureConfig, tower: AnyTower, image_size: int, dim: int):
        super().__init__()
        self.config = config
        if config.teacher == RANDOM:
            teacher: TowerTeacher | RandomTeacher = RandomTeacher(image_size // tower.patch_size, dim)
        else:
            teacher = tower_teacher(config.teacher, tower, image_size)
        self.teacher = FrozenNetwork(teacher)
        if teacher.dim != dim:
            raise ConfigError(f"the teacher {config.teacher} says {teacher.dim} numbers of a place, semantic_decoder.out_dim is {dim}")

    def forward(self, told: Tensor, images: Tensor) -> Tensor:
        """The weighted loss, a scalar, of what is told (B, N, dim) of images (B, 3, S, S) in [0, 1]."""
        return self.config.weight * cosine_distance(told, self._wanted(images))

    @torch.compiler.disable
    @torch.no_grad()
    def _wanted(self, images: Tensor) -> Tensor:
        wanted: Tensor = self.teacher.network(images)
        return wanted


def cosine_distance(told: Tensor, wanted: Tensor) -> Tensor:
    """1 - the cosine of features (B, N, D) at each place, the mean over all; a scalar float32."""
    with torch.autocast(told.device.type, enabled=False):
        return 1 - cosine_similarity(told.float(), wanted.float(), dim=-1).mean()
