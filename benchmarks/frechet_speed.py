"""How long do Fréchet distances take, and do shards make the whole?

    python -m benchmarks.frechet_speed -o results/frechet_speed.json

In one thread, at 2,048 dimensions: the distance of two stored statistics by ours, by scipy's root of a matrix and by the eigenvalues of a
product, medians of some rounds in turn; statistics of 50,000 features; seven uneven shards merged, against one pass (greatest relative
difference of a covariance's entries, by the largest).
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.record import head, report
from vtok.eval.distributions.frechet import frechet_distance
from vtok.eval.distributions.gaussian import Gaussian, GaussianStatistics

DIM, ROWS, STORED = 2048, 50_000, 3000
SHARDS = (1, 7, 900, 4092, 10_000, 15_000, 20_000)


def features(count: int, seed: int) -> torch.Tensor:
    """Rows (count, DIM) float32 that are not independent, about as large as Inception's."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(0)) / DIM**0.5
    return (torch.randn(count, DIM, generator=generator) @ mixing).relu()


def statistics(*parts: torch.Tensor) -> Gaussian:
    """Of parts, each gathered alone and then merged."""
    whole = GaussianStatistics(DIM)
    for part in parts:
        own = GaussianStatistics(DIM)
        own.update(part)
        whole.merge(own)
    return whole.compute()


def by_sqrtm(one: Gaussian, other: Gaussian) -> float:
    """As pytorch-fid and ADM's evaluator."""
    from scipy.linalg import sqrtm

    return _distance(one, other, float(np.trace(sqrtm(one.covariance.numpy() @ other.covariance.numpy()).real)))


def by_eigenvalues(one: Gaussian, other: Gaussian) -> float:
    """As torch-fidelity."""
    return _distance(one, other, float(torch.linalg.eigvals(one.covariance @ other.covariance).sqrt().real.sum()))


def _distance(one: Gaussian, other: Gaussian, root: float) -> float:
    return float((one.mean - other.mean).square().sum() + one.covariance.trace() + other.covariance.trace()) - 2 * root


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came out."""
    begun = time.perf_counter()
    found = work()
    return time.perf_counter() - begun, found


def main() -> None:
    """Parse options, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        parser.error("NumPy must compute in one thread too: set OPENBLAS_NUM_THREADS=1")
    torch.set_num_threads(1)
    pair = [statistics(features(STORED, seed)) for seed in (1, 2)]
    ways = {"ours": frechet_distance, "scipy_sqrtm": by_sqrtm, "eigenvalues": by_eigenvalues}
    rounds = [{name: timed(lambda way=way: way(*pair)) for name, way in ways.items()} for _ in range(options.rounds)]
    rows = features(ROWS, 3)
    passes = [timed(lambda: statistics(rows)) for _ in range(options.rounds)]
    whole, merged = passes[0][1], statistics(*rows.split(SHARDS))
    figures = {
        "dim": DIM,
        "distance_s": {name: round(median(found[name][0] for found in rounds), 3) for name in ways},
        "distance": {name: rounds[0][name][1] for name in ways},
        "statistics_of_50000_s": round(median(seconds for seconds, _ in passes), 3),
        "shards": {
            "sizes": list(SHARDS),
            "covariance": float((merged.covariance - whole.covariance).abs().max() / whole.covariance.abs().max()),
            "mean": float((merged.mean - whole.mean).abs().max() / whole.mean.abs().max()),
        },
    }
    report(head("frechet_speed") | figures, options.output)


if __name__ == "__main__":
    main()
