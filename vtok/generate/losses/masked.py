"""Masked tokens are to be found again (MaskGIT, arXiv 2202.04200, section 3.1; weights as in TiTok's repository)."""

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

UNMASKED_WEIGHT = 0.1
LABEL_SMOOTHING = 0.1


def masks(times: Tensor, places: Tensor) -> Tensor:
    """(B, N) bool, which tokens are masked: a share of arccos(time) * 2 / pi of them, at least one.

    Args:
        times: (B,) even noise in [0, 1).
        places: (B, N) likewise.
    """
    num = places.shape[1]
    shares = (times.arccos() * (2 / math.pi)).clamp(1e-6, 1)
    counts = (num * shares).round().clamp(min=1)
    return places.argsort(-1) < counts[:, None]


def masked_loss(logits: Tensor, ids: Tensor, masked: Tensor) -> Tensor:
    """Cross entropy with smoothed labels of all tokens, those that were not masked counting a tenth.

    Args:
        logits: (B, N, K).
        ids: (B, N) as they were.
        masked: (B, N) bool.
    """
    each = cross_entropy(logits.float().transpose(1, 2), ids, reduction="none", label_smoothing=LABEL_SMOOTHING)
    weights = torch.where(masked, 1.0, UNMASKED_WEIGHT)
    return (each * weights).sum() / (weights.sum() + 1e-8)


def masked_accuracy(logits: Tensor, ids: Tensor, masked: Tensor) -> Tensor:
    """Share of masked tokens that the likeliest code finds, mean over the strings."""
    found = (logits.argmax(-1) == ids) & masked
    return (found.sum(1) / (masked.sum(1) + 1e-8)).mean()
