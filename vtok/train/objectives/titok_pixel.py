"""The one-stage TiTok with vector quantization: everything learns from pixels at once."""

from vtok.tokenizers.titok import PixelTitok, PixelTitokConfig, VitTokenizer
from vtok.train.objectives.vq_pixels import VqPixelConfig, VqPixelObjective


class TitokPixelObjectiveConfig(VqPixelConfig):
    """Settings of the training.

    Args:
        model: sizes.
    """

    model: PixelTitokConfig


class TitokPixelObjective(VqPixelObjective):
    """Losses of pictures and of the quantizer.

    Raises:
        MissingExtraError, WeightsError: a frozen network that is not at hand.
    """

    Config = TitokPixelObjectiveConfig
    config: TitokPixelObjectiveConfig

    def make(self) -> VitTokenizer:
        """The tokenizer that is trained, with the weights that it begins with."""
        return PixelTitok(self.config.model)
