"""Tables of a trained `grouped` quantizer whose codes mostly go unused, fitted anew."""

import logging
import math

import torch
from torch import Tensor

from vtok.errors import DataError
from vtok.models.quantizers.grouped_trained import TrainedGroupedQuantizer
from vtok.models.quantizers.nearest import assign
from vtok.train.closed_form.kmeans import lloyd

log = logging.getLogger(__name__)
ROUNDS = 8


@torch.no_grad()
def refit_unused(quantizer: TrainedGroupedQuantizer, vectors: Tensor, least_use: float, generator: torch.Generator) -> None:
    """Give tables codes where the vectors (N, D) are, if these use less than the share `least_use` of as many as they could.

    With equal chances N vectors would use 1 - (1 - 1 / K)^N of K codes. Positions are gone through in order, each on what the ones before
    left.

    Raises:
        DataError: fewer vectors than codes.
    """
    size = len(quantizer.codes)
    if len(vectors) < size:
        raise DataError(f"{len(vectors)} tiles found, {size} codes need at least as many")
    could = size * (1 - (1 - 1 / size) ** len(vectors))
    left = vectors.clone()
    tables: list[Tensor] = []
    for components, table in quantizer.positions():
        points = left[:, components]
        nearest = assign(points, table)
        used = len(nearest.unique())
        if used < least_use * could:
            table = steadied(points, lloyd(points, drawn_in(points, size, generator), rounds=ROUNDS, generator=generator))
            nearest = assign(points, table)
            log.info("token %d: %d of %d codes were used, fitted anew", len(tables) + 1, used, size)
        left[:, components] = points - table[nearest]
        tables.append(table)
    quantizer.codes.copy_(torch.cat(tables, 1) / quantizer.scales)


def drawn_in(points: Tensor, num_codes: int, generator: torch.Generator) -> Tensor:
    """Random ones of points (N, D), as near to the mean as the best codes of a Gaussian source lie at this rate.

    In many dimensions those near the mean would else take all points from the others (Cover and Thomas, Elements of Information Theory,
    10.3).
    """
    mean, bits = points.mean(0), math.log2(num_codes) / points.shape[1]  # of a number
    chosen = points[torch.randperm(len(points), generator=generator)[:num_codes]]
    return mean + (chosen - mean) * math.sqrt(1 - 4**-bits)


def steadied(points: Tensor, codes: Tensor) -> Tensor:
    """Codes (K, D), each the mean of its few points of points (N, D), drawn toward the mean of all by as much as chance has driven it away.

    In many dimensions means of few points lie too far out: they fit these points and are nearest to few others. The variances within and
    between codes say how far (empirical Bayes; Efron and Morris, 1973).
    """
    nearest = assign(points, codes)
    counts = torch.bincount(nearest, minlength=len(codes))[:, None]
    mean = points.mean(0)
    total = (points - mean).square().sum() / len(points)
    within = (points - codes[nearest]).square().sum() / max(len(points) - len(codes), 1)
    between = (total - within).clamp(min=1e-3 * total)
    return mean + (codes - mean) * (counts / (counts + within / between).clamp(min=1e-12))
