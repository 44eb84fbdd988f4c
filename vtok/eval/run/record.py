"""What an evaluation says in the end: every figure with all that it depends on."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vtok.eval.codes.codebook import CodebookStatistics
from vtok.eval.pairs.measures import TABLE
from vtok.eval.run.picture_values import PictureValues, Summary
from vtok.eval.run.reconstructions import ORIGINALS, Reconstructions
from vtok.eval.run.set_figures import RowsOf, SetFigures

VERSION = 1
_LIBRARIES = ("vtok", "torch", "numpy", "pillow", "lpips", "timm", "scipy")


def reconstruction_record(run: Reconstructions, figures: SetFigures) -> dict[str, Any]:
    """All figures of a model at each length, JSON-able.

    `rows` has one for each length: tokens, mean bytes and bpp, `metrics` by name, `rises`: the share of pictures that got worse since half
    the length. `codes` says how ids were used, `pictures` has the figures of each picture. `protocol` is the same for all rows.

    Raises:
        DataError: chunks that are missing or damaged, or figures that are no numbers.
    """
    plan = run.instruments.plan
    recognised = tuple(wanted.name for wanted in plan.recognition)
    per_picture = {name: {n: run.values(name, n) for n in run.lengths} for name in (*plan.pairs, *recognised)}
    sizes = {n: run.num_bytes(n) for n in run.lengths}
    pixels = run.num_pixels().ordered
    rows = []
    for n in run.lengths:
        metrics = {name: mean_facts(values[n].compute()) for name, values in per_picture.items()}
        metrics |= figures.compute(plan.statistics, _rows_at(run, n))
        rows.append({"tokens": n} | _cost(sizes[n], pixels) | {"metrics": metrics, "rises": _rises(per_picture, n, run.lengths)})
    facts = set_facts(run.infos())
    protocol = {"preset": run.preset.to_json()} | run.instruments.describe() | numerics(run.instruments.device)
    data = {"name": run.pictures.name, "crop": run.pictures.crop if run.pictures.size else None, "size": run.pictures.size} | facts
    return {
        "vtok_eval": VERSION,
        "subject": dict(run.coder.describe()),
        "data": data,
        "protocol": protocol,
        "settings_sha256": run.digest,
        "seconds": seconds(run.infos()),
        "originals": {
            wanted.name: mean_facts(run.values(wanted.name, ORIGINALS).compute()) for wanted in plan.recognition if wanted.kind == "top1"
        },
        "rows": rows,
        "codes": code_facts(run),
        "pictures": _pictures(run, per_picture, sizes),
    }


def set_facts(infos: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """How many pictures, the digest of their pixels, and which could not be read."""
    infos = list(infos)
    digest = hashlib.sha256("".join(one for info in infos for one in info["sha256"]).encode())
    failed = [failure for info in infos for failure in info["failures"]]
    return {"pictures": sum(len(info["keys"]) for info in infos), "pixels_sha256": digest.hexdigest(), "failed": failed}


def numerics(device: str) -> dict[str, Any]:
    """Types, device and versions of a run."""
    versions = {"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES}
    kind = device.partition(":")[0]
    name = torch.cuda.get_device_name() if kind == "cuda" else platform.machine()
    return {"dtype": "float32", "sums": "float64", "tf32": False, "autocast": False, "device": f"{kind}, {name}", "versions": versions}


def seconds(infos: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds of all chunks together, by what they were spent on: `chunk` is all but reading ahead."""
    total: dict[str, float] = {}
    for info in infos:
        for name, spent in info["seconds"].items():
            total[name] = total.get(name, 0.0) + spent
    return {name: round(spent, 3) for name, spent in total.items()}


def code_facts(run: Reconstructions) -> dict[str, Any] | None:
    """How the codes were used at each position; None for a continuous model."""
    spec = run.coder.spec
    if not hasattr(spec, "codebook_sizes"):
        return None
    statistics = CodebookStatistics(spec.codebook_sizes, spec.max_tokens)
    run.count_ids(statistics.update)
    use = statistics.compute()
    total = [statistics.counts(k) for k in range(len(spec.codebook_sizes))]
    positions = {name: getattr(use, name).tolist() for name in ("used", "usage", "entropy_bits", "perplexity")}
    codebooks = [
        {
            "size": size,
            "usage": len(counts.ids) / size,
            "entropy_bits": counts.entropy_bits,
            "perplexity": 2**counts.entropy_bits,
            "dead": use.num_dead[k],
        }
        for k, (size, counts) in enumerate(zip(spec.codebook_sizes, total, strict=True))
    ]
    bits = use.entropy_bits.sum(1).cumsum(0)
    order_0 = {str(n): float(bits[n - 1]) for n in run.lengths}
    return {"strings": use.num_strings, "codebooks": codebooks, "positions": positions, "order_0_bits": order_0}


def _rows_at(run: Reconstructions, num_tokens: int) -> RowsOf:
    return lambda backbone, output: run.rows(backbone, output, num_tokens).compute()


def mean_facts(summary: Summary) -> dict[str, Any]:
    """A figure over pictures as it stands in a row."""
    facts = {"value": summary.mean, "std": summary.std, "median": summary.median, "n": summary.num, "sha256": summary.sha256}
    return facts | ({"infinite": summary.num_infinite, "finite_mean": summary.finite_mean} if summary.num_infinite else {})


def _cost(sizes: PictureValues | None, pixels: np.ndarray) -> dict[str, float | None]:
    if sizes is None:
        return {"bytes": None, "bpp": None}
    return {"bytes": float(sizes.ordered.mean()), "bpp": float((8 * sizes.ordered / pixels).mean())}


def _rises(per_picture: Mapping[str, Mapping[int, PictureValues]], num_tokens: int, lengths: Sequence[int]) -> dict[str, float]:
    """For each figure of pairs, the share of pictures that are worse with so many tokens than with half of them."""
    if num_tokens % 2 or num_tokens // 2 not in lengths:
        return {}
    found = {}
    for name in (name for name in per_picture if name in TABLE):
        half, own = (per_picture[name][n].ordered for n in (num_tokens // 2, num_tokens))
        found[name] = float((own < half).mean() if TABLE[name].higher_is_better else (own > half).mean())
    return found


def _pictures(
    run: Reconstructions, per_picture: Mapping[str, Mapping[int, PictureValues]], sizes: Mapping[int, PictureValues | None]
) -> dict[str, Any]:
    keys = [key for info in run.infos() for key in info["keys"]]
    num_bytes = {str(n): [int(size) for size in values.ordered] for n, values in sizes.items() if values is not None}
    values = {name: {str(n): _shortened(own.ordered) for n, own in by_length.items()} for name, by_length in per_picture.items()}
    return {"keys": keys, "num_pixels": [int(n) for n in run.num_pixels().ordered], "bytes": num_bytes, "values": values}


def _shortened(values: np.ndarray) -> list[float]:
    return [float(f"{value:.7g}") for value in values]


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
