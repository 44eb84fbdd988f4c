"""How fast are TiTok's encoder and decoder beside a straightforward build of the same model with the same weights?

    python -m benchmarks.titok_speed -o results/titok_speed.json
    python -m benchmarks.titok_speed --device cuda --batch 1 64 -o results/titok_speed_cuda.json

Both run in turns in one process, so that a slow moment of the machine meets both; ratios are of medians. The straightforward one has
`nn.MultiheadAttention`, `nn.Linear` and convolutions of pictures channel by channel (`benchmarks/plain_titok.py`). Weights are random:
speed does not depend on them, but ids are nearer ties than with trained ones, so the share of ids that bfloat16 keeps is a lower bound.
The peak is the fastest matrix product found on the device; a share of it counts the operations of the straightforward build.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain_titok import PlainTitok
from benchmarks.processes import spread
from benchmarks.record import head, report
from vtok.models.linear import linear as linear_product
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.titok import Titok, scattered
from vtok.weights.convert.official import OFFICIAL

PEAK_SHAPES = {"cpu": ((1284, 768, 3072), (2048, 1024, 1024), (1024, 3072, 768)), "cuda": ((8192, 8192, 8192), (4096, 4096, 4096))}


class Sides:
    """The model and its straightforward twin with what they are fed.

    Args:
        name: of an official two-stage model.
        batch: pictures at once.
        device: where.
    """

    def __init__(self, model: Titok, plain: PlainTitok, batch: int, device: torch.device):
        self.model, self.plain, self.device = model, plain, device
        generator = torch.Generator().manual_seed(1)
        self.images = torch.rand(batch, 3, *model.spec.input_size, generator=generator).to(device)
        self.tokens: Tokens = model.encode(self.images)

    def ways(self, *, compiled: bool) -> dict[str, dict[str, Callable[[], object]]]:
        """What is timed: encode and decode, each by several ways."""
        ids = self.tokens.ids[..., 0]
        ways: dict[str, dict[str, Callable[[], object]]] = {
            "encode": {"plain": lambda: self.plain.encode(self.images), "vtok": lambda: self.model.encode(self.images)},
            "decode": {"plain": lambda: self.plain.decode(ids), "vtok": lambda: self.model.decode(self.tokens)},
        }
        for own in ways.values():
            for name in ("plain", "vtok"):
                own[f"{name} bf16"] = self._in_bfloat16(own[name])
        if compiled:
            encode, decode = torch.compile(self.model.encode), torch.compile(self.model.decode)
            ways["encode"]["vtok bf16 compiled"] = self._in_bfloat16(lambda: encode(self.images))
            ways["decode"]["vtok bf16 compiled"] = self._in_bfloat16(lambda: decode(self.tokens))
        return ways

    def _in_bfloat16(self, call: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            with torch.autocast(self.device.type, torch.bfloat16):
                return call()

        return run

    def same_ids(self) -> dict[str, float]:
        """Share of ids that are those of the model in float32."""
        with torch.autocast(self.device.type, torch.bfloat16):
            half = self.model.encode(self.images).ids
        plain = self.plain.encode(self.images)[..., None]
        return {"plain": float((plain == self.tokens.ids).float().mean()), "vtok bf16": float((half == self.tokens.ids).float().mean())}

    def operations(self) -> dict[str, float]:
        """Floating-point operations of the straightforward build, in 10**9 for a picture."""
        found = {}
        for name, call in (
            ("encode", lambda: self.plain.encode(self.images)),
            ("decode", lambda: self.plain.decode(self.tokens.ids[..., 0])),
        ):
            with FlopCounterMode(display=False) as counter:
                call()
            found[name] = counter.get_total_flops() / 1e9 / len(self.images)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="TiTok-B-64", choices=[name for name, (family, _) in OFFICIAL.items() if family == "titok"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    device = torch.device(args.device)
    config = OFFICIAL[args.model][1]
    model = scattered(Titok(config)).requires_grad_(False)
    model.after_load()
    model.to(device)
    plain = PlainTitok(config, model).to(device)
    peaks = {name: peak(device, dtype) for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
    runs = [measure(Sides(model, plain, batch, device), args.rounds, peaks, compiled=args.compile) for batch in args.batch]
    report(head("titok_speed") | {"model": args.model, "device": str(device), "peak_gflops": peaks, "runs": runs}, args.output)


def measure(sides: Sides, rounds: int, peaks: Mapping[str, float], *, compiled: bool) -> dict[str, Any]:
    """Times of all ways for one batch size."""
    operations = sides.operations()
    batch = len(sides.images)
    found: dict[str, Any] = {"batch": batch, "same_ids": sides.same_ids(), "gflop_per_picture": operations}
    for task, ways in sides.ways(compiled=compiled).items():
        times = in_turns(ways, rounds, sides.device)
        rows = {}
        for name, own in times.items():
            seconds = median(own)
            limit = peaks["bf16" if "bf16" in name else "fp32"]
            rows[name] = {
                "seconds": round(seconds, 4),
                "spread": spread(own),
                "pictures_per_s": round(batch / seconds, 3),
                "share_of_peak": round(batch * operations[task] / seconds / limit, 3),
            }
        found[task] = rows
        found[f"{task}_ratio"] = {
            "fp32": round(median(times["plain"]) / median(times["vtok"]), 3),
            "bf16": round(median(times["plain bf16"]) / median(times["vtok bf16"]), 3),
        }
    return found


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each way, once a round, after a round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, call in ways.items():
            seconds = timed(call, device)
            if number:
                times[name].append(seconds)
    return times


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, to the end of what it began on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


@torch.no_grad()
def peak(device: torch.device, dtype: torch.dtype) -> float:
    """The most operations a second of a matrix product, in 10**9: of some shapes, by both ways that PyTorch has on a processor."""
    found = []
    for rows, inner, cols in PEAK_SHAPES[device.type]:
        x, weight = torch.randn(1, rows, inner, dtype=dtype, device=device), torch.randn(cols, inner, dtype=dtype, device=device)
        for way in (linear_product, functional.linear):
            found += [2 * rows * inner * cols / 1e9 / timed(partial(way, x, weight, None), device) for _ in range(8)]
    return round(max(found), 1)


if __name__ == "__main__":
    main()
