"""The best code of each point, exactly: streamed, so that the scores of all points with all codes never stand in memory."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

SCORES_AT_ONCE = 2**21  # 8 MB stay in the cache of a processor
SCORES_AT_ONCE_ON_GPU = 2**24  # 64 MB keep it busy
CODES_AT_ONCE = 8192
POINTS_ABREAST = 32  # a processor goes through the scores of so many side by side, of fewer one by one


@torch.no_grad()
def assign(points: Tensor, codes: Tensor) -> Tensor:
    """Index (N,) of the nearest of codes (K, D) for each of points (N, D), the first of equally near ones; see `best`."""
    return best(points, codes, codes.square().sum(1).mul_(-0.5))


@torch.no_grad()
def best(points: Tensor, codes: Tensor, offsets: Tensor | None = None) -> Tensor:
    """Index (N,) int64 of the code k whose points[n] @ codes[k] + offsets[k] is largest, the first of equal ones.

    In the precision of the points, autocast or not; no gradients.

    Args:
        points: (N, D) float32.
        codes: (K, D) float32, K at least 1.
        offsets: (K,) float32; 0 when None.
    """
    found: Tensor = torch.ops.vtok.best(points, codes, codes.new_zeros(len(codes)) if offsets is None else offsets)
    return found


def _best(points: Tensor, codes: Tensor, offsets: Tensor) -> Tensor:
    """The operator behind `best`; as one, a compiled graph holds it whole, where the steps of the loops would be unrolled.

    A block of scores is written over the last one: blocks that come and go would leave the process as large as all of them together.
    """
    with torch.autocast(points.device.type, enabled=False):
        if len(points) < POINTS_ABREAST:
            return torch.addmm(offsets, points, codes.T).argmax(1)  # one small block, and the least to do beside
        return _best_by_blocks(points, codes, offsets)


def _best_by_blocks(points: Tensor, codes: Tensor, offsets: Tensor) -> Tensor:
    count, num_codes = len(points), min(len(codes), CODES_AT_ONCE)
    limit = SCORES_AT_ONCE if points.device.type == "cpu" else SCORES_AT_ONCE_ON_GPU
    needed, fitting = math.ceil(count / POINTS_ABREAST), max(1, limit // num_codes // POINTS_ABREAST)
    at_once = min(needed | 1, (fitting - 1) | 1)  # odd: rows of 2**n scores evict each other from the cache; 512 points took thrice 480
    num_points = at_once * POINTS_ABREAST
    points = pad(points, (0, 0, 0, max(needed, at_once) * POINTS_ABREAST - count))
    tiles = list(zip(codes.contiguous().split(CODES_AT_ONCE), offsets[:, None].split(CODES_AT_ONCE), strict=True))
    found = torch.empty(len(points), dtype=torch.int64, device=points.device)
    buffer = points.new_empty(_padded(num_codes) * num_points)
    for part, out in zip(points.split(num_points), found.split(num_points), strict=True):
        most = points.new_empty(len(part))
        for first, (tile, offset) in zip(range(0, len(codes), CODES_AT_ONCE), tiles, strict=True):
            score, place = _best_of_tile(part, tile, offset, buffer)
            if first:
                better = score > most
                torch.where(better, place + first, out, out=out)
                torch.where(better, score, most, out=most)
            else:
                out.copy_(place)
                most.copy_(score)
    return found[:count]


def _best_of_tile(points: Tensor, codes: Tensor, offsets: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (n,) and places (n,) of the best of codes (k, D) with offsets (k, 1) for points (n, D), by a buffer for k * n or more.

    Scores are (k, n): on a processor small products take a third of the time of (n, k), and the largest is found in two vectorised passes,
    the run of neighbouring codes that it is in and its place there, where `argmax` would go number by number.
    """
    run, num_rows, count = _run(len(codes)), _padded(len(codes)), len(points)
    scores = buffer[: num_rows * count].view(num_rows, count)
    torch.addmm(offsets, codes, points.T, out=scores[: len(codes)])
    scores[len(codes) :] = -torch.inf
    runs = scores.view(num_rows // run, run, count)
    score, best_run = runs.amax(1).max(0)
    place = runs.gather(0, best_run.expand(1, run, count))[0].max(0).indices
    return score, place.add_(best_run, alpha=run)


def _run(num_codes: int) -> int:
    """How many neighbouring codes the first pass takes together: about as many as there are runs."""
    return math.isqrt(num_codes)


def _padded(num_codes: int) -> int:
    """Rows of scores, whole runs."""
    return math.ceil(num_codes / _run(num_codes)) * _run(num_codes)


_OPERATORS = torch.library.Library("vtok", "DEF")  # not `custom_op`, whose first call imports the compiler, a second
_OPERATORS.define("best(Tensor points, Tensor codes, Tensor offsets) -> Tensor")
_OPERATORS.impl("best", _best, "CompositeExplicitAutograd")


@torch.library.register_fake("vtok::best", lib=_OPERATORS)
def _sizes_of_best(points: Tensor, codes: Tensor, offsets: Tensor) -> Tensor:  # noqa: ARG001 - named as in the operator
    return points.new_empty(len(points), dtype=torch.int64)
