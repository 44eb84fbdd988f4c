"""The entropy penalty (arXiv 2310.05737, section 3.2): every latent sure of its code, all codes used evenly.

Exact, in bounded memory, see `choices`.
"""

from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from vtok.models.quantizers.choices import probability_blocks, through_softmax

SMOOTHING = 1e-5  # added to the mean probabilities inside the logarithm, as published; it matters where codes are many


class EntropyConfig(BaseModel):
    """The loss "entropy": the mean entropy of a latent's choice, less that of all choices together.

    Args:
        temperature: what scores are divided by before the softmax.
        sample_weight: of the term that makes each choice sharp.
        batch_weight: of the term that spreads the choices over the codes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    temperature: float = Field(0.01, gt=0)
    sample_weight: float = Field(1.0, ge=0)
    batch_weight: float = Field(1.0, ge=0)

    def penalty(self, sample: Tensor, batch: Tensor) -> Tensor:
        """The loss of the two entropies in nats, scalars."""
        return self.sample_weight * sample - self.batch_weight * batch


def entropy_penalty(rows: Tensor, codes: Tensor, config: EntropyConfig, offsets: Tensor | None = None) -> Tensor:
    """The loss "entropy", a scalar, where row n scores rows[n] @ codes[k] + offsets[k] with code k.

    For squared distances: rows 2 z, codes e, offsets -|e|^2; what is the same for all codes of a row changes nothing.

    Args:
        rows: (N, D) float32.
        codes: (K, D) float32.
        offsets: (K,) float32; 0 when None.
    """
    offsets = codes.new_zeros(len(codes)) if offsets is None else offsets
    sample, uses = _Choices.apply(rows / config.temperature, codes, offsets / config.temperature)
    return config.penalty(sample, entropy(uses, SMOOTHING))


def entropy(probabilities: Tensor, smoothing: float) -> Tensor:
    """Entropy in nats of the distribution (K,), with `smoothing` added inside the logarithm."""
    return -(probabilities * (probabilities + smoothing).log()).sum()


class _Choices(Function):
    """Rows (N, D), codes (K, D), offsets (K,) to the mean entropy of a row, and the mean probabilities (K,)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, codes: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(rows, codes, offsets)
        sample, uses = rows.new_zeros(()), torch.zeros_like(offsets)
        for _, probabilities, logarithms in probability_blocks(rows, codes, offsets):
            uses += probabilities.sum(0)
            sample -= logarithms.mul_(probabilities).sum()
        return sample / len(rows), uses / len(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_sample: Tensor, to_uses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, codes, offsets = ctx.saved_tensors
        to_sample, to_uses = to_sample / len(rows), to_uses / len(rows)
        to_rows, to_codes, to_offsets = torch.empty_like(rows), torch.zeros_like(codes), torch.zeros_like(offsets)
        for part, probabilities, logarithms in probability_blocks(rows, codes, offsets):
            to_scores = through_softmax(logarithms.mul_(-to_sample).add_(to_uses), probabilities)
            torch.mm(to_scores, codes, out=to_rows[part])
            to_codes.addmm_(to_scores.T, rows[part])
            to_offsets += to_scores.sum(0)
        return to_rows, to_codes, to_offsets
