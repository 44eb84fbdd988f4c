"""What does each quantizer make of the same bits? Equal small runs of `nested`, alike but for the quantizer.

    python -m benchmarks.quantizer_table --data TRAIN --pictures VALID --folder RUNS -o results/quantizer_table.json
    python -m benchmarks.quantizer_table --markdown results/quantizer_table.json

A string has 64 tokens of 12 bits for 64 x 64 pixels. All runs begin with the same principal components, which the quantizer codes in their
order; networks, steps, batches and crops are the same. `linear's own tables` is what a linear start without a quantizer has: each token
its own table of its own components. Where a quantizer needs as many numbers as bits, twice as many components are coded as with the others.

Measured on pictures that none was trained on: PSNR of all pictures' mean squared error at 1, 4, 16 and 64 tokens; the share of the codes
used at any position; the mean over positions (and sub-tokens) of the perplexity, where a code of S values cannot have more than S nor more
than there are pictures; the bits of a string that these entropies add up to; steps a second, of one run beside others' work or none.
In `dual_semantics` and `shared_semantics` the first part of each vector is trained to tell the features of LPIPS's AlexNet. For them, and
for `factorized` and `shared_index`, the table says how well each part tells these: the share of the features' variance that a linear map
(ridge, fitted on the first half of the pictures, its strength chosen there) explains in the second half, from the parts of all tokens.

The same command goes on where it was cut off when `--folder` names a place for the runs: finished ones are not run again.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.flow_decoder import AT_ONCE, encoded, features_of, read
from benchmarks.record import head, report
from vtok.data.atomic import write_bytes
from vtok.eval.codes.codebook import CodebookStatistics
from vtok.eval.pairs.lpips import Lpips
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.nested import NestedTokenizer
from vtok.train import TABLE, load_config, run
from vtok.weights import load_tokenizer

Row = dict[str, Any]

SMALL = {
    "train": {"precision": "fp32", "ema": 0.98, "log_every": 20, "image_every": 0, "checkpoint_every": 10**6, "keep": 1, "trackers": []},
    "train.validation": {"every": 0},
    "data": {"crop_size": 64, "max_side": 0, "scales": [1.0, 1.0], "split": "all"},
    "nested": {"spread": 0.0, "alignment": 0.0, "prefix": "pow2"},
    "nested.model": {"num_registers": 16, "encoder": {"dim": 128, "depth": 2, "heads": 2}, "decoder": {"dim": 128, "depth": 3, "heads": 2}},
    "nested.network": {"learning_rate": 1e-3, "warmup_steps": 20, "cooldown": 0.4},
    "nested.codes": {"learning_rate": 1e-3, "warmup_steps": 20, "cooldown": 0.4},
    "nested.linear": {"codebook_size": 4096, "num_tiles": 8000, "rounds": 4},
}
TOKENS = 64
LENGTHS = (1, 4, 16, 64)
VQ = {"kind": "vq", "num_tokens": TOKENS, "dim": 6, "codebook_size": 4096}
HALF = {"kind": "vq", "dim": 3, "codebook_size": 64}
SCALES = [1, 3, 12, 48]  # whose ends are the lengths measured
QUANTIZERS: Mapping[str, Mapping[str, Any]] = {
    "grouped": {},
    "vq": {"quantizer": VQ},
    "vq_tables": {"quantizer": VQ | {"codebook_size": 4096, "shared": False}},
    "vq_ema": {"quantizer": VQ, "vq": {"learning": "ema"}},
    "vq_clustering": {"quantizer": VQ, "vq": {"learning": "clustering"}},
    "vq_rotation": {"quantizer": VQ | {"estimator": "rotation"}},
    "vq_entropy": {"quantizer": VQ | {"entropy": {"temperature": 1.0}}},
    "spherical_vq": {"quantizer": VQ | {"kind": "spherical_vq"}},
    "simvq": {"quantizer": VQ | {"kind": "simvq"}},
    "ibq": {"quantizer": VQ | {"kind": "ibq"}},
    "fsq": {"quantizer": {"kind": "fsq", "num_tokens": TOKENS, "levels": [4] * 6}},
    "symmetric_fsq": {"quantizer": {"kind": "symmetric_fsq", "num_tokens": TOKENS, "levels": [4] * 6}},
    "lfq": {"quantizer": {"kind": "lfq", "num_tokens": TOKENS, "dim": 12}},
    "bsq": {"quantizer": {"kind": "bsq", "num_tokens": TOKENS, "dim": 12}},
    "residual": {"quantizer": {"kind": "residual", "num_tokens": TOKENS, "stages": [HALF | {"dim": 6}] * 2}},
    "multi_codebook": {"quantizer": {"kind": "multi_codebook", "num_tokens": TOKENS, "dim": 6, "codebook_size": 64, "num_groups": 2}},
    "multiscale": {"quantizer": {"kind": "multiscale", "scales": SCALES, "part": {"kind": "vq", "dim": 6, "codebook_size": 4096}}},
    "multiscale_stagewise": {
        "quantizer": {"kind": "multiscale_stagewise", "scales": SCALES, "part": {"kind": "vq", "dim": 6, "codebook_size": 4096}}
    },
    "library_residual_fsq": {
        "quantizer": {"kind": "library", "num_tokens": TOKENS, "name": "ResidualFSQ", "dim": 6, "options": {"levels": [8, 8]}}
    },
    "factorized": {"quantizer": {"kind": "factorized", "num_tokens": TOKENS, "branches": [HALF, HALF]}},
    "shared_index": {"quantizer": {"kind": "shared_index", "num_tokens": TOKENS, "widths": [3, 3], "codebook_size": 4096}},
    "dual_semantics": {
        "quantizer": {"kind": "factorized", "num_tokens": TOKENS, "branches": [HALF, HALF]},
        "semantics": {"numbers": 3, "weight": 3.0},
    },
    "shared_semantics": {
        "quantizer": {"kind": "shared_index", "num_tokens": TOKENS, "widths": [3, 3], "codebook_size": 4096},
        "semantics": {"numbers": 3, "weight": 3.0},
    },
}
TWO_PARTS = ("factorized", "shared_index", "dual_semantics", "shared_semantics")
RIDGES = (10.0, 100.0, 1e3, 1e4, 1e5)  # of the linear maps, added to sums over pictures of the squares of numbers that are about 1


def overrides(data: str, steps: int, batch: int, seed: int, own: Mapping[str, Any]) -> list[str]:
    """The settings of one run, as `vtok train --set` takes them."""
    nested = {f"nested.{key}": value for key, value in own.items()}
    settings = {f"{section}.{key}": value for section, values in SMALL.items() for key, value in values.items()}
    settings |= {"data.path": data, "train.steps": steps, "train.batch_size": batch, "seed": seed} | nested
    return [f"{key}={_toml(value)}" for key, value in settings.items()]


def trained(name: str, settings: Sequence[str], folder: Path) -> tuple[Path, float]:
    """The folder of a run, made unless it is there, and its seconds a step."""
    config = load_config("pixel64", settings)
    digest = hashlib.sha256(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:12]
    place = folder / f"{name}-{digest}"
    kept = folder / f"{place.name}.json"
    if not kept.exists():
        sys.stderr.write(f"{name}: {config.train.steps} steps\n")
        run(config, TABLE, place, show_progress=sys.stderr.isatty())
        write_bytes(kept, json.dumps({"seconds_per_step": _seconds_per_step(place, config.train.batch_size)}).encode())
    return place, float(json.loads(kept.read_text())["seconds_per_step"])


@torch.no_grad()
def figures(name: str, model: NestedTokenizer, images: Tensor, features: Tensor) -> Row:
    """What is measured of a model.

    Args:
        images: (N, 3, H, W).
        features: (N, F) of a teacher.
    """
    strings = encoded(model, images)
    statistics = CodebookStatistics(model.spec.codebook_sizes, model.spec.max_tokens)
    statistics.update(strings.ids)
    use = statistics.compute()
    alive = [1 - dead / size for dead, size in zip(use.num_dead, use.codebook_sizes, strict=True)]
    row: Row = {"quantizer": name}
    row |= {f"psnr_{n}": round(_psnr(model, strings, images, n), 3) for n in LENGTHS}
    row |= {
        "codebook_sizes": list(use.codebook_sizes),
        "usage": round(sum(alive) / len(alive), 4),
        "perplexity": round(float(use.perplexity.mean()), 1),
        "entropy_bits": round(float(use.entropy_bits.sum()), 1),
    }
    if name in TWO_PARTS:
        row["told"] = [round(own, 4) for own in _told(model, strings, features)]
    return row


def _psnr(model: NestedTokenizer, strings: Tokens, images: Tensor, num_tokens: int) -> float:
    error = 0.0
    for first in range(0, len(images), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        error += float((model.decode(strings[part].prefix(num_tokens)) - images[part]).square().sum())
    return float(-10 * torch.log10(torch.tensor(error / images.numel())))


def _told(model: NestedTokenizer, strings: Tokens, features: Tensor) -> list[float]:
    """Share of the variance of features (N, F) that each half of the vectors' numbers explains."""
    vectors = model.in_units(model.lookup(strings.ids, strings.lengths)).double()
    half = len(vectors) // 2
    shares = []
    for part in vectors.chunk(2, -1):
        numbers = part.flatten(1)
        tuned = max(RIDGES, key=lambda ridge: _explained(numbers[:half], features[:half], len(numbers) * 3 // 8, ridge))
        shares.append(_explained(numbers, features, half, tuned))
    return shares


def _explained(numbers: Tensor, features: Tensor, num_fitted: int, ridge: float) -> float:
    """Share of the variance of features (N, F) that a linear map of numbers (N, D), fitted on the first rows, explains in the others."""
    x, y = numbers - numbers[:num_fitted].mean(0), features - features[:num_fitted].mean(0)
    own = x[:num_fitted]
    fitted = torch.linalg.solve(own.T @ own + ridge * torch.eye(own.shape[1], dtype=own.dtype), own.T @ y[:num_fitted])
    return 1 - float((y[num_fitted:] - x[num_fitted:] @ fitted).square().sum() / y[num_fitted:].square().sum())


def _seconds_per_step(place: Path, batch_size: int) -> float:
    """Of the run's log: pictures a second in the middle of it."""
    lines = [json.loads(line) for line in (place / "log.jsonl").read_text().splitlines()]
    rates = sorted(line["images_per_s"] for line in lines if "images_per_s" in line)
    return float(batch_size / rates[len(rates) // 2])


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={_toml(own)}" for key, own in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(own) for own in value) + "]"
    return json.dumps(value)


def markdown(result: Row) -> str:
    """A result as a table, a line a quantizer."""
    keys = [f"psnr_{n}" for n in LENGTHS]
    lines = [["quantizer", *(f"PSNR at {n}" for n in LENGTHS), "codes used", "perplexity", "entropy, bits", "steps/s", "features told"]]
    lines += [["---"] + ["--:"] * (len(lines[0]) - 1)]
    for row in result["rows"]:
        told = " and ".join(f"{own:.1%}" for own in row.get("told", ()))
        facts = [f"{row['usage']:.0%}", f"{row['perplexity']:.0f}", f"{row['entropy_bits']:.0f}", f"{1 / row['seconds_per_step']:.1f}"]
        lines.append([f"`{row['quantizer']}`", *(f"{row[key]:.2f}" for key in keys), *facts, told])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse options, run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path, metavar="RESULT", help="print a result as a Markdown table, and do nothing else")
    parser.add_argument("--data", default="", help="what is trained on: a data set of pictures of 64 pixels and more")
    parser.add_argument("--pictures", default="", help="data set that is measured on")
    parser.add_argument("--folder", type=Path, help="where the runs are kept; a temporary one when left out")
    parser.add_argument("--quantizers", nargs="+", choices=QUANTIZERS, default=list(QUANTIZERS), metavar="NAME", help=", ".join(QUANTIZERS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--count", type=int, default=2000, help="pictures measured")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, help="write the result here too")
    options = parser.parse_args(arguments)
    if options.markdown:
        sys.stdout.write(markdown(json.loads(options.markdown.read_text())))
        return
    torch.set_num_threads(options.threads)
    images = read(options.pictures, 64, options.count)
    lpips = Lpips()
    features = torch.cat([features_of(lpips, images[first : first + AT_ONCE]) for first in range(0, len(images), AT_ONCE)])
    features = (features - features.mean(0)) / features.std(0).clamp(min=1e-6)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        for name in options.quantizers:
            begun = time.perf_counter()
            settings = overrides(options.data, options.steps, options.batch, options.seed, QUANTIZERS[name])
            place, seconds = trained(name, settings, folder)
            model = cast(NestedTokenizer, load_tokenizer(str(place)))
            rows.append(figures(name, model, images, features) | {"seconds_per_step": round(seconds, 4)})
            sys.stderr.write(f"{json.dumps(rows[-1])} after {time.perf_counter() - begun:.0f} s\n")
    settings = {"steps": options.steps, "batch_size": options.batch, "tokens": TOKENS, "num_pictures": len(images), "seed": options.seed}
    report(head("quantizer_table") | settings | {"rows": rows}, options.output)


if __name__ == "__main__":
    main()
