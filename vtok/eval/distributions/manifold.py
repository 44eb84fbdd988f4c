"""Precision, recall (arXiv 1904.06991), density and coverage (arXiv 2002.09797) of a set by nearest neighbours in another."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vtok.errors import DataError

Rule = Literal["torch-fidelity", "adm", "prdc"]
_NEIGHBOURS: dict[Rule, int] = {"torch-fidelity": 3, "adm": 3, "prdc": 5}
_TILE = 2048  # rows and columns of the distances that are there at a time


@dataclass(frozen=True)
class ManifoldFigures:
    """Of a generated set against a reference.

    Args:
        precision: share of generated pictures in the ball of any reference picture.
        recall: share of reference pictures in the ball of any generated one.
        density: balls of reference pictures that a generated one lies in, in the mean, by the number of neighbours.
        coverage: share of reference pictures with a generated one in their ball.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_figures(generated: Tensor, reference: Tensor, rule: Rule, neighbours: int | None = None) -> ManifoldFigures:
    """All four, from squared distances in float64. A picture's ball reaches to its k-th nearest neighbour in its own set.

    Args:
        generated, reference: (n, d), (m, d) float.
        rule: the edge belongs to a ball with "torch-fidelity" and "adm", which differ in rounding alone, and does not with "prdc".
        neighbours: k; None for the rule's own, 3 or with "prdc" 5.

    Raises:
        DataError: no more pictures than neighbours, or of different numbers of dimensions.
    """
    k = neighbours or _NEIGHBOURS[rule]
    if generated.shape[1] != reference.shape[1]:
        raise DataError(f"features of {generated.shape[1]} dimensions against {reference.shape[1]}: they come from different networks")
    if min(len(generated), len(reference)) <= k:
        raise DataError(f"{k} neighbours need more pictures on each side, got {len(generated)} and {len(reference)}")
    own, other = generated.double(), reference.double()
    own_radii, other_radii = _radii(own, k), _radii(other, k)
    in_reference = own.new_zeros(len(own))  # balls of the reference that each generated picture lies in
    in_generated = own.new_zeros(len(other))
    covered = torch.zeros(len(other), dtype=torch.bool)
    for rows, columns, squares in _tiles(own, other):
        inside = _inside(squares, other_radii[columns][None], rule)
        in_reference[rows] += inside.sum(1)
        covered[columns] |= inside.any(0)
        in_generated[columns] += _inside(squares, own_radii[rows][:, None], rule).sum(0)
    return ManifoldFigures(
        precision=float((in_reference > 0).double().mean()),
        recall=float((in_generated > 0).double().mean()),
        density=float(in_reference.mean() / k),
        coverage=float(covered.double().mean()),
    )


def _inside(squares: Tensor, radii: Tensor, rule: Rule) -> Tensor:
    return squares < radii if rule == "prdc" else squares <= radii


def _radii(rows: Tensor, neighbours: int) -> Tensor:
    """Squared distances (n,) to the k-th nearest other row."""
    nearest = rows.new_full((len(rows), neighbours + 1), torch.inf)
    for own, _, squares in _tiles(rows, rows):
        nearest[own] = torch.cat([nearest[own], squares], 1).topk(neighbours + 1, largest=False).values
    return nearest[:, neighbours]  # the nearest is the row itself


def _tiles(rows: Tensor, columns: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Squared distances of some rows from some columns."""
    for top in range(0, len(rows), _TILE):
        own = slice(top, top + _TILE)
        for left in range(0, len(columns), _TILE):
            other = slice(left, left + _TILE)
            lengths = (part.square().sum(1) for part in (rows[own], columns[other]))
            yield (
                own,
                other,
                torch.add(*torch.meshgrid(*lengths, indexing="ij")).addmm_(rows[own], columns[other].T, alpha=-2).clamp_min_(0),
            )
