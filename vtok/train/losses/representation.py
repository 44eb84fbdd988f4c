"""Alignment of a generative decoder's features with those of a frozen vision transformer (REPA, arXiv 2410.06940)."""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, interpolate

from vtok.models.gated_transformer import norm
from vtok.train.losses.timm_features import TimmFeatureLoss, TimmFeaturesConfig

HIDDEN = 4  # times the decoder's width


class RepresentationConfig(BaseModel):
    """What is aligned with what.

    Args:
        teacher: a backbone; the last of its `stages` counts, of the last when empty.
        layer: the decoder's block whose outputs are aligned, from 0.
        weight: of the loss.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    teacher: TimmFeaturesConfig
    layer: int = Field(1, ge=0)
    weight: float = Field(1.0, gt=0)


class RepresentationLoss(nn.Module):
    """The negative mean cosine between a teacher's features and what a head makes of the decoder's.

    Args:
        config: the settings.
        dim: of the decoder's features.

    Raises:
        As `TimmFeatureLoss`.
    """

    def __init__(self, config: RepresentationConfig, dim: int):
        super().__init__()
        teacher = config.teacher if config.teacher.stages else config.teacher.model_copy(update={"stages": (-1,)})
        self.teacher = TimmFeatureLoss(teacher)
        self.head = ProjectionHead(dim, self.teacher.num_channels)
        self.config = config

    def begin(self, seed: int) -> None:
        """Give the head the weights that training begins with."""
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            for layer in self.head.layers:
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()

    def target(self, images: Tensor) -> Tensor:
        """What the teacher says of images (B, 3, H, W) in [0, 1], a map (B, D', h, w)."""
        return self.teacher.target(images)[-1]

    def forward(self, features: Tensor, wanted: Tensor) -> Tensor:
        """Features (B, L, D) of a square of patches, and the teacher's of the same images, to a scalar in [-1, 1]."""
        return alignment(self.head(features), wanted)


class ProjectionHead(nn.Module):
    """A norm without parameters, then three layers with SiLU between them."""

    def __init__(self, dim: int, dim_out: int):
        super().__init__()
        hidden = HIDDEN * dim
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, dim_out))

    def forward(self, features: Tensor) -> Tensor:
        """(..., D) to (..., D')."""
        out: Tensor = self.layers(norm(features))
        return out


def resized(projected: Tensor, size: tuple[int, int]) -> Tensor:
    """Features (B, L, D) of a square of patches to a map (B, D, *size), bilinearly."""
    side = int(projected.shape[1] ** 0.5)
    maps = projected.float().mT.unflatten(2, (side, side))
    return interpolate(maps, size, mode="bilinear", align_corners=False)


def alignment(projected: Tensor, wanted: Tensor) -> Tensor:
    """Minus the mean cosine of features (B, L, D) and a teacher's map (B, D, h, w), over pictures and places of the map."""
    with torch.autocast(projected.device.type, enabled=False):
        own = resized(projected, (wanted.shape[2], wanted.shape[3]))
        return -cosine_similarity(own, wanted.float(), dim=1).mean()
