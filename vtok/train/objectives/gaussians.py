"""What trainings of continuous tokenizers by pictures share: latents drawn with noise, and what their Gaussians cost."""

from typing import cast

from pydantic import Field
from torch import Tensor

from vtok.tokenizers.latents import Latents, LatentTokenizer
from vtok.tokenizers.pretrained import Pretrained
from vtok.train.losses.kl import kl
from vtok.train.objective import Losses
from vtok.train.objectives.by_pictures import PixelConfig, PixelObjective
from vtok.train.objectives.strings import NOISE
from vtok.train.samples.batch import Batch
from vtok.train.samples.draws import noise


class GaussianConfig(PixelConfig):
    """Settings of these trainings.

    Args:
        kl: weight of the latents' distance from the unit normal, added up over a picture.
    """

    kl: float = Field(1e-6, ge=0)


class GaussianObjective(PixelObjective):
    """Losses of pictures and of the latents' cost.

    Raises:
        MissingExtraError, WeightsError: a frozen network that is not at hand.
    """

    config: GaussianConfig
    model: LatentTokenizer

    def begin(self, tokenizer: Pretrained, seed: int) -> None:
        self.model = cast(LatentTokenizer, tokenizer)
        self.begin_with(tokenizer, seed, [tokenizer])

    def losses(self, batch: Batch) -> Losses:
        model = self.model
        mean, logvar = cast(tuple[Tensor, Tensor], model.gaussians(batch.images))
        vectors = Latents(mean, logvar, None, model.spec).with_noise(self._noise(batch))
        self.look_at(vectors)
        options = self.options(batch)
        decodes = [model.reconstruct(vectors, own, options) for own in self.lengths(batch, model.spec)]
        return self.judged(batch, decodes, {"kl": self.config.kl * kl(mean, logvar).sum(1).mean()})

    def look_at(self, vectors: Tensor) -> None:
        """Take note of the latents (B, N, D) of a step that are decoded."""

    def _noise(self, batch: Batch) -> Tensor:
        """(B, N, D)."""
        shape = (self.model.spec.num_tokens, self.model.spec.dim)
        return noise(batch.indices, shape, self.seed, batch.step, NOISE).to(batch.images.device)
