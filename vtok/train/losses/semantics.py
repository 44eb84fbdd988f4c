"""A part of each token's vector that is to say what a picture shows, not how it looks: a teacher's features are told from it."""

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, gelu

from vtok.errors import ConfigError
from vtok.eval.pairs.lpips import Lpips
from vtok.train.losses.frozen_network import FrozenNetwork
from vtok.train.losses.timm_features import TimmFeatureLoss, TimmFeaturesConfig


class AlexnetConfig(BaseModel):
    """The trunk of LPIPS, found where LPIPS finds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["alexnet"] = "alexnet"


class TimmTeacherConfig(TimmFeaturesConfig):
    """A backbone of timm; the last of its `stages` counts."""

    kind: Literal["timm"] = "timm"


class SemanticsConfig(BaseModel):
    """What is told from what.

    Args:
        numbers: of each vector, its first ones, that tell; with the quantizers `factorized` and `shared_index` those of its first part.
        teacher: whose features, their means over places, are told.
        hidden: width of the network that tells them; it is not kept with the model.
        weight: of the loss.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    numbers: int = Field(ge=1, le=4096)
    teacher: Annotated[AlexnetConfig | TimmTeacherConfig, Field(discriminator="kind")] = AlexnetConfig()
    hidden: int = Field(256, ge=1, le=8192)
    weight: float = Field(1.0, gt=0)


class AlexnetTeacher(nn.Module):
    """The means over places of the trunk's last layer.

    Raises:
        MissingExtraError, WeightsError: as `Lpips`.
    """

    num_channels = 256

    def __init__(self) -> None:
        super().__init__()
        self.trunk = FrozenNetwork(Lpips())

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to (B, F) float32."""
        with torch.autocast(images.device.type, enabled=False):
            return self.trunk.network.layers(images.float())[-1].mean((2, 3))


class TimmTeacher(nn.Module):
    """The means over places of a backbone's last stage.

    Raises:
        MissingExtraError, WeightsError, ConfigError: as `TimmFeatureLoss`.
    """

    def __init__(self, config: TimmTeacherConfig):
        super().__init__()
        stages = config.stages or (-1,)
        self.features = TimmFeatureLoss(TimmFeaturesConfig(**config.model_dump(exclude={"kind"}) | {"stages": stages}))
        self.num_channels = self.features.num_channels

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to (B, F) float32."""
        return self.features.target(images)[-1].mean((2, 3))


class SemanticLoss(nn.Module):
    """1 - the cosine between a teacher's features and what the tokens of a prefix tell of them, the mean over strings.

    Features are compared by how they differ from what is usual, in units of their deviation: otherwise what all pictures share would make
    most of the cosine.

    Raises:
        MissingExtraError, WeightsError, ConfigError: a teacher that is not at hand.
    """

    heard: nn.Parameter  # (N * numbers, hidden)
    mean: Tensor  # (F,)
    deviation: Tensor  # (F,)

    def __init__(self, config: SemanticsConfig):
        super().__init__()
        self.config = config
        teacher = config.teacher
        self.teacher = AlexnetTeacher() if isinstance(teacher, AlexnetConfig) else TimmTeacher(teacher)
        width = self.teacher.num_channels
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.out = nn.Linear(config.hidden, width)

    def begin(self, num_latents: int, dim: int, seed: int) -> None:
        """Give the network its size and the weights that training begins with.

        Args:
            num_latents, dim: N and D of a string's vectors.

        Raises:
            ConfigError: vectors of fewer numbers than tell.
        """
        if dim < self.config.numbers:
            raise ConfigError(f"semantics.numbers is {self.config.numbers}, the quantizer's vectors have {dim}")
        heard = torch.empty(num_latents * self.config.numbers, self.config.hidden)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.heard = nn.Parameter(nn.init.normal_(heard, std=len(heard) ** -0.5))
            self.out.reset_parameters()

    @torch.no_grad()
    def learn_usual(self, features: Tensor) -> None:
        """Take mean and deviation of a teacher's features (n, F)."""
        self.mean.copy_(features.mean(0))
        self.deviation.copy_(features.std(0).clamp(min=1e-6))

    def target(self, images: Tensor) -> Tensor:
        """What is to be told of images (B, 3, H, W) in [0, 1], (B, F)."""
        found: Tensor = self.teacher(images)
        return (found - self.mean) / self.deviation

    def forward(self, vectors: Tensor, target: Tensor) -> Tensor:
        """The loss, weighted, of vectors (B, N, D) of prefixes, 0 where tokens are missing."""
        own = vectors[..., : self.config.numbers].flatten(1)
        told = self.out(gelu(own @ self.heard))
        return self.config.weight * (1 - cosine_similarity(told.float(), target, dim=1)).mean()
