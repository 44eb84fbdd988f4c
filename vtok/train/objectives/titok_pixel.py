"""The one-stage TiTok with vector quantization: everything learns from pixels at once."""

from typing import cast

import torch

from vtok.models.quantizers.codebook_training import CodebookTrainingConfig
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.titok import PixelTitok, PixelTitokConfig, VitTokenizer
from vtok.train.codebook_steps import CodebookSteps
from vtok.train.objective import Losses
from vtok.train.objectives.by_pictures import PixelConfig, PixelObjective
from vtok.train.objectives.strings import REVIVAL
from vtok.train.samples.batch import Batch
from vtok.train.samples.draws import generator as draws_at


class TitokPixelObjectiveConfig(PixelConfig):
    """Settings of the training.

    Args:
        model: sizes.
        vq: how the codes are learned.
    """

    model: PixelTitokConfig
    vq: CodebookTrainingConfig = CodebookTrainingConfig()


class TitokPixelObjective(PixelObjective):
    """Losses of pictures and of the quantizer.

    Raises:
        MissingExtraError, WeightsError: a frozen network that is not at hand.
    """

    Config = TitokPixelObjectiveConfig
    config: TitokPixelObjectiveConfig
    tokenizer: VitTokenizer

    def make(self) -> VitTokenizer:
        """The tokenizer that is trained, with the weights that it begins with."""
        return PixelTitok(self.config.model)

    def begin(self, tokenizer: Pretrained, seed: int) -> None:
        self.tokenizer = model = cast(VitTokenizer, tokenizer)
        self.begin_with(model, seed, [model])
        self.vq = CodebookSteps(model.quantizer, self.config.vq)

    def losses(self, batch: Batch) -> Losses:
        model = self.tokenizer
        latents = model.latents(batch.images)
        quantized = model.quantize(latents)
        options = self.options(batch)
        decodes = [model.reconstruct(quantized.vectors, own, options) for own in self.lengths(batch, model.spec)]
        return self.judged(batch, decodes, self.vq.losses(latents, quantized))

    @torch.no_grad()
    def after_step(self, step: int, ema: Pretrained) -> None:
        super().after_step(step, ema)
        self.vq.after_step(self.tokenizer.quantizer, cast(VitTokenizer, ema).quantizer, draws_at(self.seed, step, REVIVAL))
