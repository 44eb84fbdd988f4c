"""Codes that lie idle, moved onto latents: the more the less they are used (online clustering, arXiv 2307.15139)."""

import torch
from torch import Tensor, nn

from vtok.models.quantizers.nearest import assign
from vtok.models.quantizers.vq import VectorQuantizer

SHARPNESS = 10.0  # how fast the move fades with use
LEAST_STILLNESS = 1e-3  # a code that was never used keeps this share of itself, about


class CodebookClustering(nn.Module):
    """How often each code is used; a part of the training, not of the model.

    After a step, with p the share of a table's latents that took a code, S its codes and r the latent nearest to the code:
    usage = decay usage + (1 - decay) p; a = exp(-10 S usage / (1 - decay) - 0.001); code = (1 - a) code + a r. So a code of even use
    hardly moves, one without use jumps onto a latent. Nearest is meant where the quantizer compares; r is the latent as it came.

    Published trainings do this in the forward pass, with the gradients of the step still to come; here the codes are those that the
    optimizer has just left, and the ids those that they were before.

    Args:
        quantizer: whose codes are moved; they go on taking gradients.
        decay: of the usage, a step.
    """

    usage: Tensor  # (T, S) float32 running mean of p

    def __init__(self, quantizer: VectorQuantizer, decay: float):
        super().__init__()
        self.decay = decay
        self.register_buffer("usage", torch.zeros(quantizer.codes.shape[:2], device=quantizer.codes.device))

    @torch.no_grad()
    def update(self, quantizer: VectorQuantizer, latents: Tensor, ids: Tensor) -> None:
        """Take in what latents (B, N, D) used, ids (B, N, 1), and move the codes; both are those of all processes, in one order."""
        rows = quantizer.dealt(latents)  # (T, n, D), of which `points` are where they are compared
        points, taken = quantizer.by_table(latents, ids)
        num_tables, size = self.usage.shape
        counts = torch.bincount(quantizer.in_one_table(taken), minlength=num_tables * size).view(num_tables, size)
        self.usage.lerp_(counts / taken.shape[1], 1 - self.decay)
        share = torch.exp(-SHARPNESS * size / (1 - self.decay) * self.usage - LEAST_STILLNESS)
        for table, codes in enumerate(quantizer.codes):
            nearest = assign(quantizer.place(codes.float()), points[table])
            codes.lerp_(rows[table, nearest].to(codes.dtype), share[table, :, None].to(codes.dtype))
