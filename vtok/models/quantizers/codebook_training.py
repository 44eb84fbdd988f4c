"""All that trains the codes of vector quantization beside gradients: running means, clustering, revival."""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vtok.models.quantizers.clustering import CodebookClustering
from vtok.models.quantizers.codebook_ema import CodebookEma
from vtok.models.quantizers.dead_codes import DeadCodes, RevivalConfig
from vtok.models.quantizers.vq import VectorQuantizer


class CodebookTrainingConfig(BaseModel):
    """How the codes are learned.

    Args:
        learning: "gradient": by the codebook loss; "ema": as running means of the latents that took them; "clustering": by the codebook
            loss, and moved onto latents the more the less they are used.
        commitment: weight of the loss that draws latents to their codes; None, of this and the four below: as published for the quantizer.
        codebook: weight of the loss that draws codes to their latents; unused with "ema".
        entropy: weight of the penalty of undecided latents and unevenly used codes.
        disentanglement: weight of the loss that keeps branches from saying the same.
        auxiliary: weight of what a class of vector-quantize-pytorch asks for.
        ema_decay: of the running means, a step, with "clustering" of each code's use; unused with "gradient".
        revival: of codes that nothing uses; "clustering" is one of its own, so that this is unused there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    learning: Literal["gradient", "ema", "clustering"] = "gradient"
    commitment: float | None = Field(None, ge=0)
    codebook: float | None = Field(None, ge=0)
    entropy: float | None = Field(None, ge=0)
    disentanglement: float | None = Field(None, ge=0)
    auxiliary: float | None = Field(None, ge=0)
    ema_decay: float = Field(0.99, gt=0, lt=1)
    revival: RevivalConfig = RevivalConfig()

    def chosen_weights(self) -> dict[str, float]:
        """The weights that are not left to the quantizer, by the names of the losses."""
        weights = {name: getattr(self, name) for name in ("commitment", "codebook", "entropy", "disentanglement", "auxiliary")}
        return {name: value for name, value in weights.items() if value is not None}


class CodebookTraining(nn.Module):
    """The part of the training that goes with a `VectorQuantizer`; its state belongs to checkpoints, not to the model.

    Args:
        quantizer: already filled; its codes stop taking gradients with "ema".
    """

    def __init__(self, quantizer: VectorQuantizer, config: CodebookTrainingConfig):
        super().__init__()
        self.ema = CodebookEma(quantizer, config.ema_decay) if config.learning == "ema" else None
        clusters = config.learning == "clustering"
        self.clustering = CodebookClustering(quantizer, config.ema_decay) if clusters else None
        self.dead_codes = None if clusters else DeadCodes(quantizer, config.revival)

    @torch.no_grad()
    def update(self, quantizer: VectorQuantizer, latents: Tensor, ids: Tensor, generator: torch.Generator) -> Tensor:
        """What gradients do not do, after a step: move the running means or clusters, revive dead codes.

        Args:
            latents: (B, N, D) before quantisation, those of all processes in one order.
            ids: (B, N, 1) what they were coded as.
            generator: on the CPU, in one state on all processes; drawn from only where codes are replaced.

        Returns:
            (T, S) bool, true for codes that were replaced: an averaged copy of the model takes these over as they are. None with
            "clustering", where every code moves a part of the way at every step: the published trainings average that too.
        """
        if self.ema is not None:
            self.ema.update(quantizer, latents, ids)
        if self.clustering is not None:
            self.clustering.update(quantizer, latents, ids)
        if self.dead_codes is None:
            return torch.zeros_like(quantizer.codes[..., 0], dtype=torch.bool)
        replaced = self.dead_codes.revive(quantizer, latents, ids, generator)
        if self.ema is not None:
            self.ema.restart(quantizer, replaced)
        return replaced
