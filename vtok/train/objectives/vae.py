"""A KL autoencoder (arXiv 2112.10752): learns from pixels, from latents drawn with noise, and measures how far its latents spread."""

from typing import Self, cast

from pydantic import model_validator
from torch import Tensor

from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.vae import Vae, VaeConfig
from vtok.train.latent_spread import LatentSpread
from vtok.train.objectives.gaussians import GaussianConfig, GaussianObjective


class VaeObjectiveConfig(GaussianConfig):
    """Settings of the training.

    Args:
        model: sizes; its scaling factor is measured.
    """

    model: VaeConfig

    @model_validator(mode="after")
    def _latents_are_not_scaled_yet(self) -> Self:
        settings = self.model.settings
        if settings.scaling_factor is not None or settings.shift_factor is not None:
            raise ValueError("scaling_factor and shift_factor are not for training: it measures the one, and latents are not shifted")
        return self


class VaeObjective(GaussianObjective):
    """Losses of pictures and of the latents' cost; what is saved has the scaling factor with which latents deviate by 1.

    The network that is trained has none, so that the cost of latents does not depend on it.

    Raises:
        MissingExtraError: diffusers, or what a frozen network needs, is not installed.
        WeightsError: a frozen network that is not at hand.
    """

    Config = VaeObjectiveConfig
    config: VaeObjectiveConfig

    def __init__(self, config: VaeObjectiveConfig):
        super().__init__(config)
        self.spread = LatentSpread()

    def make(self) -> Vae:
        return Vae(self.config.model)

    def look_at(self, vectors: Tensor) -> None:
        self.spread.see(vectors)

    def after_step(self, step: int, ema: Pretrained) -> None:
        super().after_step(step, ema)
        cast(Vae, ema).set_scaling_factor(1 / self.spread.after_step(step))
