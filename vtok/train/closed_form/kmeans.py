"""k-means codebooks (Lloyd's rounds)."""

import math

import torch
from torch import Tensor

from vtok.models.quantizers.nearest import assign


def kmeans(points: Tensor, num_codes: int, *, rounds: int, generator: torch.Generator) -> Tensor:
    """Codes (num_codes, D) that lower the mean squared distance to points (N, D) float32.

    Starts from distinct random points, drawn toward the mean so far as the best codes of a Gaussian source are at this rate (Cover and
    Thomas, Elements of Information Theory, 10.3): in many dimensions those near the mean would take all points from the others. A code that
    loses all its points is moved beside the one that has the most. When there are fewer points than codes, points are repeated with a
    little noise.
    """
    codes = _start(points, num_codes, generator)
    for _ in range(rounds):
        nearest = assign(points, codes)
        counts = torch.bincount(nearest, minlength=num_codes)
        sums = torch.zeros_like(codes).index_add_(0, nearest, points)
        codes = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], codes)
        empty = (counts == 0).nonzero()[:, 0]
        if len(empty):
            crowded = counts.argsort(descending=True, stable=True)[torch.arange(len(empty)) % num_codes]
            spread = points.std(0, correction=0) * 0.01
            codes[empty] = codes[crowded] + spread * torch.randn(codes[empty].shape, generator=generator)
    return codes


def _start(points: Tensor, num_codes: int, generator: torch.Generator) -> Tensor:
    order = torch.randperm(len(points), generator=generator)
    if len(points) >= num_codes:
        mean, bits = points.mean(0), math.log2(num_codes) / points.shape[1]  # of a number
        return mean + (points[order[:num_codes]] - mean) * math.sqrt(1 - 4**-bits)
    repeated = points[order[torch.arange(num_codes) % len(points)]]
    return repeated + 1e-3 * points.std(0, correction=0) * torch.randn(repeated.shape, generator=generator)
