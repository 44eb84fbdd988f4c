"""TA-TiTok (arXiv 2501.07730): the one-stage trainings with captions for the decoder."""

from typing import Any

import torch
from torch import nn

from vtok.errors import ConfigError
from vtok.models.decoders import DecodeOptions
from vtok.tokenizers.tatitok import TaTitok, TaTitokConfig, TaTitokVae, TaTitokVaeConfig
from vtok.train.captions import TextTower, text_tower
from vtok.train.config import DataConfig
from vtok.train.losses.frozen_network import FrozenNetwork
from vtok.train.objectives.titok_pixel import TitokPixelObjective, TitokPixelObjectiveConfig
from vtok.train.objectives.titok_vae import TitokVaeObjective, TitokVaeObjectiveConfig
from vtok.train.samples.batch import Batch


class TaTitokObjectiveConfig(TitokPixelObjectiveConfig):
    """Settings of the training with vector quantization.

    Args:
        model: sizes.
        text: "clip": CLIP's text tower, frozen; "random": fixed random embeddings, for checks.
    """

    model: TaTitokConfig
    text: TextTower = "clip"


class TaTitokVaeObjectiveConfig(TitokVaeObjectiveConfig):
    """Settings of the continuous training.

    Args:
        model: sizes.
        text: as of `TaTitokObjectiveConfig`.
    """

    model: TaTitokVaeConfig
    text: TextTower = "clip"


class Captioned:
    """What both add to their kind.

    Raises:
        MissingExtraError, WeightsError: the text tower is not at hand.
    """

    config: Any
    tower: FrozenNetwork[nn.Module]

    def __init__(self, config: TaTitokObjectiveConfig | TaTitokVaeObjectiveConfig):
        super().__init__(config)  # type: ignore[call-arg]
        self.tower = text_tower(config.text, config.model.text)

    def check(self, data: DataConfig) -> None:
        super().check(data)  # type: ignore[misc]
        if not data.captions:
            raise ConfigError("data.captions is false, this decoder reads captions; set it to true and give pictures that have some")

    @torch.compiler.disable
    @torch.no_grad()
    def options(self, batch: Batch) -> DecodeOptions:
        """Embeddings of the captions."""
        return DecodeOptions(text=self.tower.network(batch.captions).to(batch.images.device))


class TaTitokObjective(Captioned, TitokPixelObjective):
    """TA-TiTok with vector quantization."""

    Config = TaTitokObjectiveConfig
    config: TaTitokObjectiveConfig

    def make(self) -> TaTitok:
        return TaTitok(self.config.model)


class TaTitokVaeObjective(Captioned, TitokVaeObjective):
    """TA-TiTok with continuous latents."""

    Config = TaTitokVaeObjectiveConfig
    config: TaTitokVaeObjectiveConfig

    def make(self) -> TaTitokVae:
        return TaTitokVae(self.config.model)
