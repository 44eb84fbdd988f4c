"""The losses between pictures and their reconstructions, weighted and by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from vtok.eval.pairs.lpips import TrunkName
from vtok.train.losses.classifier_logits import ClassifierLogitsConfig, ClassifierLogitsLoss
from vtok.train.losses.lpips import LpipsLoss
from vtok.train.losses.pixel import PIXEL_LOSSES
from vtok.train.losses.timm_features import TimmFeatureLoss, TimmFeaturesConfig


class PictureNetwork(Protocol):
    """A distance of pictures in what a frozen network sees: `network(pictures, network.target(images))`."""

    def target(self, images: Tensor) -> list[Tensor]:
        """What is seen in images (B, 3, H, W) in [0, 1], for any number of comparisons; no gradient passes through it."""

    def __call__(self, pictures: Tensor, target: list[Tensor], /) -> Tensor:
        """Distance (B,) float32 of pictures (B, 3, H, W) in [0, 1] from a `target`."""


@dataclass(frozen=True, eq=False)
class NetworkTerm:
    """A network's distance with its weight. An `nn.Module` moves with the losses, and what state it has is saved with them."""

    network: PictureNetwork
    weight: float


class FeatureTermConfig(TimmFeaturesConfig):
    """A feature distance with its weight."""

    weight: float = Field(1.0, gt=0)


class LogitsTermConfig(ClassifierLogitsConfig):
    """A classifier's distance with its weight."""

    weight: float = Field(1.0, gt=0)


class PictureLossConfig(BaseModel):
    """Weights of the losses; 0 leaves one out.

    Published mixtures of a perceptual loss are plain weights here. TiTok's "lpips-convnext_s-a-b" of weight w is
    (a * LPIPS + b * logits) * w / (a + b), so lpips = w * a / (a + b) and logits.weight = w * b / (a + b), with lpips_trunk = "vgg".

    Args:
        l1, l2, charbonnier, log_l2: of the pixels in [0, 1] (`pixel`).
        lpips: LPIPS (`lpips`).
        lpips_trunk: the network that LPIPS looks through.
        logits: distance in what a classifier says (`classifier_logits`).
        features: distances in the features of timm's backbones (`timm_features`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    l1: float = Field(0.0, ge=0)
    l2: float = Field(30.0, ge=0)
    charbonnier: float = Field(0.0, ge=0)
    log_l2: float = Field(0.0, ge=0)
    lpips: float = Field(1.0, ge=0)
    lpips_trunk: TrunkName = "alex"
    logits: LogitsTermConfig | None = None
    features: tuple[FeatureTermConfig, ...] = ()

    @model_validator(mode="after")
    def _something_is_asked(self) -> "PictureLossConfig":
        if not (self.l1 or self.l2 or self.charbonnier or self.log_l2 or self.lpips or self.logits or self.features):
            raise ValueError("all weights are 0: give at least one loss a weight")
        return self


@dataclass(frozen=True, eq=False)
class PictureTarget:
    """Images (B, 3, H, W) in [0, 1] and what networks see in them, by the losses' names."""

    images: Tensor
    features: dict[str, list[Tensor]]


class PictureLosses(nn.Module):
    """Calls all losses that have a weight: `losses(pictures, losses.target(images))`.

    Args:
        further: networks of the caller's own beside those of `config`, by names that the losses get.

    Raises:
        MissingExtraError, WeightsError: a network that is not at hand.
        ValueError: a further network under a name that is taken.
    """

    def __init__(self, config: PictureLossConfig, further: Mapping[str, NetworkTerm] | None = None):
        super().__init__()
        self.pixel_weights = {name: weight for name in PIXEL_LOSSES if (weight := getattr(config, name))}
        self.terms = _terms(config)
        for name, term in (further or {}).items():
            if name in PIXEL_LOSSES or name in self.terms:
                raise ValueError(f"there is a loss {name} already: give the further network another name")
            self.terms[name] = term
        networks = [term.network for term in self.terms.values()]
        self._held = nn.ModuleList(network for network in networks if isinstance(network, nn.Module))  # so that they move with it

    def target(self, images: Tensor) -> PictureTarget:
        """What pictures of these images are compared with, for any number of comparisons."""
        return PictureTarget(images, {name: term.network.target(images) for name, term in self.terms.items()})

    def forward(self, pictures: Tensor, target: PictureTarget, shares: Tensor | float = 1.0) -> dict[str, Tensor]:
        """The weighted losses by name, means over the batch, of pictures (B, 3, H, W).

        Args:
            shares: (B,) of its weight with which what a network sees counts for each picture.
        """
        found = {name: weight * PIXEL_LOSSES[name](pictures, target.images).mean() for name, weight in self.pixel_weights.items()}
        for name, term in self.terms.items():
            found[name] = term.weight * (shares * term.network(pictures, target.features[name])).mean()
        return found


def _terms(config: PictureLossConfig) -> dict[str, NetworkTerm]:
    terms = {f"features_{n}": NetworkTerm(TimmFeatureLoss(own), own.weight) for n, own in enumerate(config.features)}
    if config.lpips:
        terms["lpips"] = NetworkTerm(LpipsLoss(trunk=config.lpips_trunk), config.lpips)
    if config.logits is not None:
        terms["logits"] = NetworkTerm(ClassifierLogitsLoss(config.logits), config.logits.weight)
    return terms
