"""Figures of sets of pictures, by the rules of a preset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from torch import Tensor

from vtok.errors import DataError
from vtok.eval.distributions.frechet import frechet_distance
from vtok.eval.distributions.gaussian import Gaussian
from vtok.eval.distributions.inception_score import inception_score
from vtok.eval.distributions.kernel import clip_mmd, kernel_distance
from vtok.eval.distributions.manifold import ManifoldFigures, manifold_figures
from vtok.eval.protocol.presets import Preset
from vtok.eval.run.metric_names import MetricPlan, Statistic
from vtok.eval.run.references import Reference, gaussian_of

RowsOf = Callable[[str, str], Tensor]  # backbone, output -> (n, d)
_SUBSETS, _SUBSET_SIZE, _KERNEL_SEED = 100, 1000, 2020


@dataclass(frozen=True)
class SetFigures:
    """Compares sets with a reference.

    Args:
        reference: what with; the Inception score needs none.
        preset: rules of splits and of neighbours.
        allow_small_n: give Fréchet distances of fewer pictures than dimensions too.
    """

    reference: Reference | None
    preset: Preset
    allow_small_n: bool

    def compute(self, wanted: Sequence[Statistic], rows_of: RowsOf) -> dict[str, dict[str, Any]]:
        """Each figure with what belongs to it, by name: `value`, or None and a `reason`.

        Raises:
            DataError: features that are missing, or no numbers.
        """
        rows = cache(rows_of)

        @cache
        def neighbours(backbone: str) -> ManifoldFigures:
            others = self._reference().rows(backbone, "features")
            return manifold_figures(rows(backbone, "features"), others, self.preset.manifold)

        return {statistic.name: self._figure(statistic, rows, neighbours) for statistic in wanted}

    def _figure(self, wanted: Statistic, rows: RowsOf, neighbours: Callable[[str], ManifoldFigures]) -> dict[str, Any]:
        if wanted.kind == "is":
            score = inception_score(rows(wanted.backbone, wanted.output), self.preset.score_rule)
            return {"value": score.mean, "std": score.std, "rule": self.preset.score_rule.to_json()}
        own, reference = rows(wanted.backbone, wanted.output), self._reference()
        if wanted.kind == "fd":
            return self._frechet(gaussian_of(own), reference.gaussian(wanted.backbone, wanted.output))
        other = reference.rows(wanted.backbone, wanted.output)
        counts = {"n": len(own), "n_reference": len(other)}
        if wanted.kind == "kd":
            distance = kernel_distance(own, other, subsets=_SUBSETS, subset_size=_SUBSET_SIZE, seed=_KERNEL_SEED)
            drawn = {"subsets": _SUBSETS, "subset_size": min(_SUBSET_SIZE, len(own), len(other)), "seed": _KERNEL_SEED}
            return {"value": distance.mean, "std": distance.std} | counts | drawn
        if wanted.kind == "cmmd":
            return {"value": clip_mmd(own, other)} | counts
        return {"value": getattr(neighbours(wanted.backbone), wanted.kind), "rule": self.preset.manifold} | counts

    def _frechet(self, own: Gaussian, reference: Gaussian) -> dict[str, Any]:
        counts = {"n": own.count, "n_reference": reference.count}
        fewest, dim = min(own.count, reference.count), len(own.mean)
        if fewest <= dim and not self.allow_small_n:
            return {"value": None, "reason": small_sets(fewest, dim)} | counts
        return {"value": frechet_distance(own, reference), "rank_deficient": fewest <= dim} | counts

    def _reference(self) -> Reference:
        if self.reference is None:
            raise DataError("there is nothing to compare with; name a --reference")
        return self.reference


def small_sets(count: int, dim: int) -> str:
    """What is wrong with a Fréchet distance of `count` pictures in `dim` dimensions."""
    return (
        f"{count:,} pictures do not fill {dim:,} dimensions: the covariance lacks rank, and chance would make most of the distance; "
        "see the kernel distance, or say --allow-small-n"
    )


def with_kernel_distances(plan: MetricPlan, count: int, dims: Callable[[str, str], int]) -> MetricPlan:
    """The plan with a kernel distance beside each Fréchet distance for which `count` pictures are too few.

    Args:
        dims: of a backbone's output.
    """
    names = set(plan.names)
    added = []
    for statistic in plan.statistics:
        if statistic.kind != "fd" or statistic.output != "features" or count > dims(statistic.backbone, statistic.output):
            continue
        name = "kid" if statistic.backbone == "inception" else f"kd_{statistic.backbone}"
        if name not in names:
            added.append(Statistic(name, "kd", statistic.backbone))
            names.add(name)
    return replace(plan, statistics=(*plan.statistics, *added))
