"""Principal components under a metric: the few directions of tiles that matter most to what is seen."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtok.train.closed_form.metric import symmetric


@dataclass(frozen=True, eq=False)
class Components:
    """y = analysis (z - mean) and z = mean + synthesis y; a squared error in y is an error under the metric in z."""

    mean: Tensor  # (D,)
    analysis: Tensor  # (n, D)
    synthesis: Tensor  # (D, n)


def principal_components(tiles: Tensor, num_components: int, root: Tensor, inverse_root: Tensor) -> Components:
    """The first principal components of root @ (tile - mean), largest variance first.

    Args:
        tiles: (N, D) float32; overwritten by their difference from the mean.
        root, inverse_root: (D, D) float64 of the metric.
    """
    mean = tiles.mean(0)
    covariance = (tiles.sub_(mean).T @ tiles).double() / len(tiles)
    _, vectors = torch.linalg.eigh(symmetric(root @ covariance @ root))
    leading = vectors.flip(1)[:, :num_components]
    leading = leading * leading.sum(0).sign().where(leading.sum(0) != 0, 1)  # signs are free: fixed for repeatable runs
    return Components(mean, (leading.T @ root).float(), (inverse_root @ leading).float())
