"""Fréchet distance of two Gaussians (FID: arXiv 1706.08500, equation 6), by a root that is real by construction."""

import torch
from torch import Tensor

from vtok.errors import DataError
from vtok.eval.distributions.gaussian import Gaussian

_ROUNDING = 1e-6  # of the largest eigenvalue, of the traces: what lies below 0 by no more is rounding


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """|m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2)), in float64.

    The trace of the root is the sum of the roots of the eigenvalues of S1^(1/2) S2 S1^(1/2), which is symmetric: covariances without full
    rank do no harm, and nothing is added to them.

    Raises:
        DataError: of different numbers of dimensions, or a covariance with eigenvalues below 0 by more than rounding.
    """
    if one.mean.shape != other.mean.shape:
        raise DataError(f"features of {len(one.mean)} dimensions against {len(other.mean)}: they come from different networks")
    values, vectors = torch.linalg.eigh(one.covariance)
    root = (vectors * _checked(values).sqrt()) @ vectors.T
    roots = _checked(torch.linalg.eigvalsh(root @ other.covariance @ root)).sqrt()
    traces = one.covariance.trace() + other.covariance.trace()
    distance = float((one.mean - other.mean).square().sum() + traces - 2 * roots.sum())
    if distance < -_ROUNDING * max(1.0, float(traces)):
        raise DataError(f"a Fréchet distance of {distance:.3g}: the statistics are damaged")
    return max(distance, 0.0)


def _checked(eigenvalues: Tensor) -> Tensor:
    """Eigenvalues (d,) without those that rounding brought below 0."""
    if float(eigenvalues[0]) < -_ROUNDING * max(float(eigenvalues[-1]), 1e-12):
        raise DataError(f"a covariance has an eigenvalue of {float(eigenvalues[0]):.3g}: the statistics are damaged")
    return eigenvalues.clamp_min(0)
