"""What trainings of quantized tokenizers by pictures share: everything learns from pixels at once."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from vtok.models.quantizers import Quantized
from vtok.models.quantizers.codebook_training import CodebookTrainingConfig
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.vq_tokenizer import VqTokenizer
from vtok.train.codebook_steps import CodebookSteps
from vtok.train.objective import Losses
from vtok.train.objectives.by_pictures import PixelConfig, PixelObjective
from vtok.train.objectives.strings import REVIVAL
from vtok.train.samples.batch import Batch
from vtok.train.samples.draws import generator as draws_at


class VqPixelConfig(PixelConfig):
    """Settings of these trainings.

    Args:
        vq: how the codes are learned.
    """

    vq: CodebookTrainingConfig = CodebookTrainingConfig()


class VqPixelObjective(PixelObjective):
    """Losses of pictures and of the quantizer. An objective fills in `make`.

    Raises:
        MissingExtraError, WeightsError: a frozen network that is not at hand.
    """

    config: VqPixelConfig
    model: VqTokenizer

    def begin(self, tokenizer: Pretrained, seed: int) -> None:
        self.model = model = cast(VqTokenizer, tokenizer)
        self.begin_with(model, seed, [model, *self.begin_beside(seed)])
        self.vq = CodebookSteps(model.quantizer, self.config.vq)

    def losses(self, batch: Batch) -> Losses:
        model = self.model
        latents = model.latents(batch.images)
        quantized = self.quantized(batch, latents)
        options = self.options(batch)
        decodes = [model.reconstruct(quantized.vectors, own, options) for own in self.lengths(batch, model.spec)]
        return self.judged(batch, decodes, self.vq.losses(latents, quantized) | self.further_losses(batch, quantized))

    def begin_beside(self, seed: int) -> Sequence[nn.Module]:  # noqa: ARG002 - for those that have some
        """What is trained beside the tokenizer and not kept, with the weights that training begins with."""
        return ()

    def quantized(self, batch: Batch, latents: Tensor) -> Quantized:  # noqa: ARG002 - for those whose quantizer is told something
        """What is made of latents (B, N, D)."""
        return self.model.quantize(latents)

    def further_losses(self, batch: Batch, quantized: Quantized) -> dict[str, Tensor]:  # noqa: ARG002 - for those that have some
        """Weighted losses of what was quantised, beside the quantizer's own."""
        return {}

    @torch.no_grad()
    def after_step(self, step: int, ema: Pretrained) -> None:
        super().after_step(step, ema)
        self.vq.after_step(self.model.quantizer, cast(VqTokenizer, ema).quantizer, draws_at(self.seed, step, REVIVAL))
