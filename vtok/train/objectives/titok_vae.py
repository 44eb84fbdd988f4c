"""The one-stage TiTok with a continuous bottleneck: everything learns from pixels, from latents drawn with noise."""

from typing import cast

import torch
from pydantic import Field
from torch import Tensor

from vtok.tokenizers.latents import Latents
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.titok_vae import TitokVae, TitokVaeConfig, VitLatentTokenizer
from vtok.train.losses.kl import kl
from vtok.train.objective import Losses
from vtok.train.objectives.vit_strings import NOISE, PixelConfig, PixelObjective
from vtok.train.samples.batch import Batch
from vtok.train.samples.draws import generator as draws_at


class TitokVaeObjectiveConfig(PixelConfig):
    """Settings of the training.

    Args:
        model: sizes.
        kl: weight of the latents' distance from the unit normal, added up over a picture.
    """

    model: TitokVaeConfig
    kl: float = Field(1e-6, ge=0)


class TitokVaeObjective(PixelObjective):
    """Losses of pictures and of the latents' cost.

    Raises:
        MissingExtraError, WeightsError: a frozen network that is not at hand.
    """

    Config = TitokVaeObjectiveConfig
    config: TitokVaeObjectiveConfig
    tokenizer: VitLatentTokenizer

    def make(self) -> VitLatentTokenizer:
        """The tokenizer that is trained, with the weights that it begins with."""
        return TitokVae(self.config.model)

    def begin(self, tokenizer: Pretrained, seed: int) -> None:
        self.tokenizer = model = cast(VitLatentTokenizer, tokenizer)
        self.begin_with(model, seed, [model])

    def losses(self, batch: Batch) -> Losses:
        model = self.tokenizer
        mean, logvar = model.gaussians(batch.images)
        vectors = Latents(mean, logvar, None, model.spec).with_noise(self._noise(batch))
        options = self.options(batch)
        decodes = [model.reconstruct(vectors, own, options) for own in self.lengths(batch, model.spec)]
        return self.judged(batch, decodes, {"kl": self.config.kl * kl(mean, logvar).sum(1).mean()})

    @torch.compiler.disable
    def _noise(self, batch: Batch) -> Tensor:
        """(B, N, D), each sample's own by its index in the global batch: what `randn` gives first depends on how much is asked."""
        shape = (self.tokenizer.spec.num_tokens, self.tokenizer.spec.dim)
        own = [torch.randn(shape, generator=draws_at(self.seed, batch.step, NOISE, index)) for index in batch.indices.tolist()]
        return torch.stack(own).to(batch.images.device)
