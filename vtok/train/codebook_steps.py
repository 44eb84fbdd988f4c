"""The codes of vector quantization through the steps of a run: their losses, and what is done to them after each step."""

import torch
from torch import Tensor, nn

from vtok.models.quantizers import Quantized
from vtok.models.quantizers.codebook_training import CodebookTraining, CodebookTrainingConfig
from vtok.models.quantizers.vq import VectorQuantizer
from vtok.train.engine.gather import gathered


class CodebookSteps(nn.Module):
    """Belongs to an objective; its state is saved with it.

    Args:
        quantizer: already filled; its codes stop taking gradients where these do not train them.
    """

    def __init__(self, quantizer: VectorQuantizer, config: CodebookTrainingConfig):
        super().__init__()
        self.learning = CodebookTraining(quantizer, config)
        self._coded: list[tuple[Tensor, Tensor]] = []  # latents and ids of this step's batches

    def losses(self, latents: Tensor, quantized: Quantized) -> dict[str, Tensor]:
        """The quantizer's weighted losses, of latents (B, N, D) of a batch; `after_step` follows when the step has seen all its batches."""
        self._coded.append((latents.detach(), quantized.ids))
        return self.learning.weighted(quantized.losses)

    @torch.no_grad()
    def after_step(self, quantizer: VectorQuantizer, averaged: VectorQuantizer, generator: torch.Generator) -> None:
        """Move and revive codes; those put in the place of others go into the averaged copy as they are.

        Args:
            generator: on the CPU, in one state on all processes.
        """
        latents, ids = (gathered(torch.cat(parts)) for parts in zip(*self._coded, strict=True))
        self._coded.clear()
        replaced = self.learning.update(quantizer, latents, ids, generator)
        averaged.codes.copy_(torch.where(replaced[..., None], quantizer.codes.detach(), averaged.codes))
