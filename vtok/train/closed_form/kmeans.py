"""k-means codebooks (Lloyd's rounds)."""

import torch
from torch import Tensor

from vtok.models.quantizers.nearest import assign


def kmeans(points: Tensor, num_codes: int, *, rounds: int, generator: torch.Generator) -> Tensor:
    """Codes (num_codes, D) that lower the mean squared distance to points (N, D) float32.

    Starts from distinct random points. When there are fewer points than codes, points are repeated with a little noise.
    """
    return lloyd(points, _start(points, num_codes, generator), rounds=rounds, generator=generator)


def lloyd(points: Tensor, codes: Tensor, *, rounds: int, generator: torch.Generator) -> Tensor:
    """Codes (K, D) after some rounds; one that loses all its points is moved beside the one that has the most."""
    num_codes = len(codes)
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
        return points[order[:num_codes]].clone()
    repeated = points[order[torch.arange(num_codes) % len(points)]]
    return repeated + 1e-3 * points.std(0, correction=0) * torch.randn(repeated.shape, generator=generator)
