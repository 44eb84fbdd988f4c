"""LlamaGen's VQ (arXiv 2406.06525, section 2.1): learns from pixels, perceptual features and a discriminator."""

from vtok.tokenizers.llamagen_vq import LlamagenVq, LlamagenVqConfig
from vtok.train.objectives.vq_pixels import VqPixelConfig, VqPixelObjective


class LlamagenVqObjectiveConfig(VqPixelConfig):
    """Settings of the training.

    Args:
        model: sizes.
    """

    model: LlamagenVqConfig = LlamagenVqConfig()


class LlamagenVqObjective(VqPixelObjective):
    """Losses of pictures and of the quantizer.

    Raises:
        MissingExtraError, WeightsError: a frozen network that is not at hand.
    """

    Config = LlamagenVqObjectiveConfig
    config: LlamagenVqObjectiveConfig

    def make(self) -> LlamagenVq:
        return LlamagenVq(self.config.model)
