"""A quantizer through the steps of a run: its losses, weighted, and what is done to the codes of its tables after each step."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.models.quantizers import Quantized, Quantizer
from vtok.models.quantizers.codebook_training import CodebookTraining, CodebookTrainingConfig
from vtok.train.engine.gather import gathered


class CodebookSteps(nn.Module):
    """Belongs to an objective; its state is saved with it.

    Args:
        quantizer: already filled; the codes of its tables stop taking gradients where these do not train them.

    Raises:
        ConfigError: a weight of a loss that the quantizer does not have.
    """

    def __init__(self, quantizer: Quantizer, config: CodebookTrainingConfig):
        super().__init__()
        self.weights = loss_weights(quantizer, config)
        self.learning = nn.ModuleList(CodebookTraining(table, config) for table in quantizer.learned_tables())
        self._coded: list[tuple[Tensor, Tensor]] = []  # latents and ids of this step's batches

    def losses(self, latents: Tensor, quantized: Quantized) -> dict[str, Tensor]:
        """The quantizer's weighted losses, of latents (B, N, D) of a batch; `after_step` follows when the step has seen all its batches."""
        self._coded.append((latents.detach(), quantized.ids))
        return {name: self.weights[name] * value for name, value in quantized.losses.items()}

    @torch.no_grad()
    def after_step(self, quantizer: Quantizer, averaged: Quantizer, generator: torch.Generator) -> None:
        """Move and revive codes; those put in the place of others go into the averaged copy as they are.

        Args:
            generator: on the CPU, in one state on all processes.
        """
        latents, ids = (gathered(torch.cat(parts)) for parts in zip(*self._coded, strict=True))
        self._coded.clear()
        coded = quantizer.coded(latents, ids)  # by the codes as they are before any of them moves
        tables = zip(quantizer.learned_tables(), averaged.learned_tables(), strict=True)
        for learning, (live, kept), (own, rows) in zip(self.learning, tables, coded, strict=True):
            replaced = cast(CodebookTraining, learning).update(live, own, rows, generator)
            kept.codes.copy_(torch.where(replaced[..., None], live.codes.detach(), kept.codes))
        quantizer.take_use(ids)


def loss_weights(quantizer: Quantizer, config: CodebookTrainingConfig) -> Mapping[str, float]:
    """The weight of each of the quantizer's losses: as published, but for those that the configuration sets.

    Raises:
        ConfigError: a weight of a loss that the quantizer does not have.
    """
    chosen = config.chosen_weights()
    for name in chosen:
        if name not in quantizer.loss_weights:
            has = ", ".join(quantizer.loss_weights) or "none"
            raise ConfigError(f"vq.{name} weighs a loss that this quantizer does not have; its losses: {has}")
    return {**quantizer.loss_weights, **chosen}
