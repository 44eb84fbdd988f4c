"""Codes learned as running means of the latents that took them (arXiv 1711.00937, appendix A.1)."""

import torch
from torch import Tensor, nn

from vtok.models.quantizers.vq import VectorQuantizer

SMOOTHING = 1e-5  # added to each count, so that a code never used is not divided by 0


class CodebookEma(nn.Module):
    """The running counts and sums; a part of the training, not of the model.

    Args:
        quantizer: whose codes are learned, as they now are; they take no gradients any more.
        decay: of the means, a step.
    """

    counts: Tensor  # (T, S)
    sums: Tensor  # (T, S, D)

    def __init__(self, quantizer: VectorQuantizer, decay: float):
        super().__init__()
        self.decay = decay
        codes = quantizer.place(quantizer.codes.requires_grad_(False))
        self.register_buffer("counts", torch.ones(codes.shape[:2], device=codes.device))
        self.register_buffer("sums", codes.clone())

    @torch.no_grad()
    def update(self, quantizer: VectorQuantizer, latents: Tensor, ids: Tensor) -> None:
        """Move the codes towards latents (B, N, D) by their ids (B, N, 1), those of all processes together."""
        points, rows = quantizer.by_table(latents, ids)
        num_tables, size = self.counts.shape
        flat = quantizer.in_one_table(rows)
        counts = torch.bincount(flat, minlength=num_tables * size).view(num_tables, size).float()
        sums = torch.zeros_like(self.sums).flatten(0, 1).index_add_(0, flat, points.flatten(0, 1)).view_as(self.sums)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        total = self.counts.sum(1, keepdim=True)
        smoothed = (self.counts + SMOOTHING) / (total + size * SMOOTHING) * total
        quantizer.codes.copy_(quantizer.place(self.sums / smoothed[..., None]))

    @torch.no_grad()
    def restart(self, quantizer: VectorQuantizer, replaced: Tensor) -> None:
        """Begin anew with the codes that `replaced` (T, S) says were put in place of others, as if evenly used."""
        even = self.counts.mean(1, keepdim=True).expand_as(self.counts)
        self.counts.copy_(torch.where(replaced, even, self.counts))
        anew = quantizer.place(quantizer.codes) * self.counts[..., None]
        self.sums.copy_(torch.where(replaced[..., None], anew, self.sums))
