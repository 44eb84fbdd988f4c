"""What gradients a latent takes from the vector that stands for it. Each returns the vector itself."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

Estimator = Literal["straight_through", "rotation"]

SHORTEST = 1e-6  # a shorter latent has no direction


def straight_through(z: Tensor, vectors: Tensor) -> Tensor:
    """The vectors (..., D), whose gradients pass to z (..., D) as they are (arXiv 1308.3432)."""
    return vectors.detach() + (z - z.detach())


def rotated(z: Tensor, vectors: Tensor) -> Tensor:
    """The vectors (..., D), as if z (..., D) had been turned and stretched onto them: gradients are turned back (arXiv 2410.06424).

    So the angle between gradient and vector is that between what z takes and z. A latent shorter than `SHORTEST` takes them as they are.
    """
    with torch.no_grad():
        length = z.norm(dim=-1, keepdim=True)
        start, end = normalize(z, dim=-1, eps=SHORTEST), normalize(vectors, dim=-1, eps=SHORTEST)
        middle = normalize(start + end, dim=-1, eps=SHORTEST)
        stretch = vectors.norm(dim=-1, keepdim=True) / length.clamp(min=SHORTEST)
    turned = z - 2 * (z * middle).sum(-1, keepdim=True) * middle + 2 * (z * start).sum(-1, keepdim=True) * end
    return straight_through(torch.where(length < SHORTEST, z, turned * stretch), vectors)


ESTIMATORS: Mapping[Estimator, Callable[[Tensor, Tensor], Tensor]] = {"straight_through": straight_through, "rotation": rotated}
