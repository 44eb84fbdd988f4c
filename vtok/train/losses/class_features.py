"""Vectors of a branch drawn to what a frozen network says of their picture, and away from what it says of others (FQGAN, section 3.2)."""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, distributed, nn
from torch.nn.functional import cross_entropy, normalize

from vtok.errors import ConfigError
from vtok.models.class_feature_head import ClassFeatureHead
from vtok.models.transformer import TransformerConfig
from vtok.train.engine.gather import gathered
from vtok.train.losses.class_teacher import class_teacher
from vtok.train.losses.frozen_network import FrozenNetwork


class ClassFeatureConfig(BaseModel):
    """What is predicted, and by which head.

    Args:
        teacher: see `class_teacher.class_teacher`.
        depth, heads: of the head's transformer, as wide as the teacher.
        weight: of the loss.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    teacher: str
    depth: int = Field(3, ge=0, le=64)
    heads: int = Field(8, ge=1, le=128)
    weight: float = Field(0.5, gt=0)


class ClassFeatureLoss(nn.Module):
    """The teacher, and a head, which is trained and not kept; `begin` makes it.

    Raises:
        MissingExtraError, WeightsError: the teacher is not at hand.
        ConfigError: it is of another kind, or the heads do not divide its width.
    """

    head: ClassFeatureHead

    def __init__(self, config: ClassFeatureConfig):
        super().__init__()
        self.config = config
        self.teacher = FrozenNetwork(class_teacher(config.teacher))
        dim = self.teacher.network.dim
        if dim % config.heads:
            raise ConfigError(f"{config.heads} heads do not divide the {dim} numbers of {config.teacher}")
        self._transformer = TransformerConfig(dim=dim, depth=config.depth, heads=config.heads)

    def begin(self, latent_dim: int, num_vectors: int, seed: int) -> None:
        """Make the head with the weights that training begins with.

        Args:
            latent_dim: numbers of a vector.
            num_vectors: of a picture.
        """
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.head = ClassFeatureHead(self._transformer, latent_dim, num_vectors)

    def forward(self, vectors: Tensor, images: Tensor) -> Tensor:
        """Vectors (B, N, D) of a branch, and the images (B, 3, H, W) in [0, 1] that they stand for, to the weighted loss, a scalar."""
        return self.config.weight * contrast(self.head(vectors)[:, 0], self._wanted(images))

    @torch.compiler.disable
    @torch.no_grad()
    def _wanted(self, images: Tensor) -> Tensor:
        wanted: Tensor = self.teacher.network(images)
        return wanted


def contrast(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Mean cross entropy in nats of whose features were predicted, by cosines without a temperature; a scalar float32.

    It lies between log(1 + (B - 1) exp(-2)) and log(1 + (B - 1) exp(2)). The others are those of all processes; where a step accumulates
    several batches, each counts for itself.

    Args:
        predicted: (B, D).
        wanted: (B, D); no gradient passes to it.
    """
    with torch.autocast(predicted.device.type, enabled=False):
        others = gathered(normalize(wanted.detach().float(), dim=-1))  # (B of all, D)
        cosines = normalize(predicted.float(), dim=-1) @ others.T
        first = distributed.get_rank() * len(predicted) if len(others) > len(predicted) else 0
        return cross_entropy(cosines, torch.arange(first, first + len(predicted), device=cosines.device))
