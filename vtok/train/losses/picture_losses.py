"""The losses between pictures and their reconstructions, weighted and by name."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from vtok.train.losses.lpips import LpipsLoss
from vtok.train.losses.pixel import PIXEL_LOSSES
from vtok.train.losses.timm_features import TimmFeatureLoss, TimmFeaturesConfig


class FeatureTermConfig(TimmFeaturesConfig):
    """A feature distance with its weight."""

    weight: float = Field(1.0, gt=0)


class PictureLossConfig(BaseModel):
    """Weights of the losses; 0 leaves one out.

    Args:
        l1, l2, charbonnier, log_l2: of the pixels in [0, 1] (`pixel`).
        lpips: LPIPS with the AlexNet trunk (`lpips`).
        features: distances in the features of timm's backbones (`timm_features`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    l1: float = Field(0.0, ge=0)
    l2: float = Field(30.0, ge=0)
    charbonnier: float = Field(0.0, ge=0)
    log_l2: float = Field(0.0, ge=0)
    lpips: float = Field(1.0, ge=0)
    features: tuple[FeatureTermConfig, ...] = ()

    @model_validator(mode="after")
    def _something_is_asked(self) -> "PictureLossConfig":
        if not (self.l1 or self.l2 or self.charbonnier or self.log_l2 or self.lpips or self.features):
            raise ValueError("all weights are 0: give at least one loss a weight")
        return self


@dataclass(frozen=True, eq=False)
class PictureTarget:
    """Images (B, 3, H, W) in [0, 1] and what networks see in them, by the losses' names."""

    images: Tensor
    features: dict[str, list[Tensor]]


class PictureLosses(nn.Module):
    """Calls all losses that have a weight: `losses(pictures, losses.target(images))`.

    Raises:
        MissingExtraError, WeightsError: a network that is not at hand.
    """

    def __init__(self, config: PictureLossConfig):
        super().__init__()
        self.pixel_weights = {name: weight for name in PIXEL_LOSSES if (weight := getattr(config, name))}
        self.networks: dict[str, LpipsLoss | TimmFeatureLoss] = {}
        self.network_weights = {f"features_{n}": own.weight for n, own in enumerate(config.features)}
        self.networks |= {f"features_{n}": TimmFeatureLoss(own) for n, own in enumerate(config.features)}
        if config.lpips:
            self.networks["lpips"], self.network_weights["lpips"] = LpipsLoss(), config.lpips
        self._held = nn.ModuleList(self.networks.values())  # so that they move with what holds them

    def target(self, images: Tensor) -> PictureTarget:
        """What pictures of these images are compared with, for any number of comparisons."""
        return PictureTarget(images, {name: network.target(images) for name, network in self.networks.items()})

    def forward(self, pictures: Tensor, target: PictureTarget, shares: Tensor | float = 1.0) -> dict[str, Tensor]:
        """The weighted losses by name, means over the batch, of pictures (B, 3, H, W).

        Args:
            shares: (B,) of its weight with which what a network sees counts for each picture.
        """
        found = {name: weight * PIXEL_LOSSES[name](pictures, target.images).mean() for name, weight in self.pixel_weights.items()}
        for name, network in self.networks.items():
            found[name] = self.network_weights[name] * (shares * network(pictures, target.features[name])).mean()
        return found
