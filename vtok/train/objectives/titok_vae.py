"""The one-stage TiTok with a continuous bottleneck: everything learns from pixels, from latents drawn with noise."""

from vtok.tokenizers.titok_vae import TitokVae, TitokVaeConfig, VitLatentTokenizer
from vtok.train.objectives.gaussians import GaussianConfig, GaussianObjective


class TitokVaeObjectiveConfig(GaussianConfig):
    """Settings of the training.

    Args:
        model: sizes.
    """

    model: TitokVaeConfig


class TitokVaeObjective(GaussianObjective):
    """Losses of pictures and of the latents' cost.

    Raises:
        MissingExtraError, WeightsError: a frozen network that is not at hand.
    """

    Config = TitokVaeObjectiveConfig
    config: TitokVaeObjectiveConfig

    def make(self) -> VitLatentTokenizer:
        """The tokenizer that is trained, with the weights that it begins with."""
        return TitokVae(self.config.model)
