"""Codes that nothing uses, put where latents are."""

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vtok.models.quantizers.vq import VectorQuantizer


class RevivalConfig(BaseModel):
    """When a code is dead.

    Args:
        window: latents a code that the running mean of its use reaches back over; with 10, that of a table of 4,096 codes spans the
            last 40,960 latents coded by it.
        threshold: share of even use below which a code is replaced; 0 replaces none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    window: float = Field(10.0, gt=0)
    threshold: float = Field(0.03, ge=0, lt=1)


class DeadCodes(nn.Module):
    """How much each code is used; a part of the training, not of the model.

    Args:
        quantizer: whose codes are watched.
    """

    usage: Tensor  # (T, S) running mean in units of even use: 1 when all codes of a table are used as much

    def __init__(self, quantizer: VectorQuantizer, config: RevivalConfig):
        super().__init__()
        self.config = config
        self.register_buffer("usage", torch.ones(quantizer.codes.shape[:2], device=quantizer.codes.device))

    @torch.no_grad()
    def revive(self, quantizer: VectorQuantizer, latents: Tensor, ids: Tensor, generator: torch.Generator) -> Tensor:
        """Take in what latents (B, N, D) used, ids (B, N, 1), and put dead codes where some of these latents are.

        Equal on all processes when given the latents of all, in one order, and generators in one state.

        Args:
            generator: on the CPU.

        Returns:
            (T, S) bool, true for codes that were replaced; dead ones beyond the number of latents wait for the next.
        """
        points, rows = quantizer.by_table(latents, ids)
        self._take_in(quantizer, rows)
        dead = self.usage < self.config.threshold
        replaced = torch.zeros_like(dead)
        for table in dead.any(1).nonzero().flatten().tolist():
            drawn = torch.randperm(points.shape[1], generator=generator).to(points.device)
            own = dead[table].nonzero().flatten()[: len(drawn)]
            quantizer.codes[table, own] = points[table, drawn[: len(own)]].to(quantizer.codes.dtype)
            replaced[table, own] = True
        self.usage.masked_fill_(replaced, 1.0)
        return replaced

    def _take_in(self, quantizer: VectorQuantizer, rows: Tensor) -> None:
        num_tables, size = self.usage.shape
        share = torch.bincount(quantizer.in_one_table(rows), minlength=num_tables * size).view(num_tables, size) * (size / rows.shape[1])
        kept = math.exp(-rows.shape[1] / (self.config.window * size))
        self.usage.lerp_(share, 1 - kept)
