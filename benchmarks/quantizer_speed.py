"""How fast is the search for the nearest code beside that of vector-quantize-pytorch, and in how much memory?

    python -m benchmarks.quantizer_speed -o results/quantizer_speed.json
    python -m benchmarks.quantizer_speed --device cuda -o results/quantizer_speed_cuda.json

Whole calls in eval mode, from latents to vectors and ids, of `VectorQuantizer` and `SphericalVectorQuantizer` and of the library's
`VectorQuantize` with the same codes, in turns in one process, so that a slow moment of the machine meets both; ratios are of medians.
Latents and codes are normal. The library holds 16 bytes for each pair of vector and code, so it gets as many vectors as fit in
`--library-bytes`. Bytes a pair are what a call adds to the process, or on a GPU allocates, at its peak. `exact` is the share of ids that a
search in float64 finds too, of some vectors. On a GPU there are bfloat16 latents and compiled quantizers too.
"""

import argparse
import ctypes
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.flextok_speed import fine_spread
from benchmarks.record import head, report
from benchmarks.titok_speed import timed
from vtok.models.quantizers.vq import SphericalVectorQuantizer, VectorQuantizer

WAYS = {"cpu": ("library", "vtok"), "cuda": ("library", "vtok", "library bf16", "vtok bf16", "vtok bf16 compiled")}
METRICS = {"euclidean": VectorQuantizer, "cosine": SphericalVectorQuantizer}
BYTES_A_PAIR = 16  # of the library
EXACT, CHECKED = 0.99, 256  # least share of exact ids, and of how many vectors; others are near ties


class Bench:
    """One table by several ways.

    Args:
        metric: of `METRICS`.
        codes: (S, D) on the device.
        ways: of `WAYS`, "library" and "vtok" among them.
    """

    def __init__(self, metric: str, codes: Tensor, ways: Sequence[str]):
        from vector_quantize_pytorch import VectorQuantize

        size, dim = codes.shape
        self.ways, self.codes = ways, codes
        self.quantizer = METRICS[metric](dim, size).to(codes.device).eval()
        self.quantizer.fill(codes)
        library = VectorQuantize(dim=dim, codebook_size=size, use_cosine_sim=metric == "cosine").to(codes.device).eval()
        library._codebook.embed.copy_(self.quantizer.compared().detach())
        self.coders: dict[str, Callable[[Tensor], Tensor]] = {"library": lambda z: library(z)[1], "vtok": lambda z: self.quantizer(z).ids}
        if any("compiled" in way for way in ways):
            compiled = torch.compile(self.quantizer, dynamic=True)
            self.coders["vtok compiled"] = lambda z: compiled(z).ids

    @torch.no_grad()
    def run(self, num_vectors: int, library_bytes: float, rounds: int) -> dict[str, Any]:
        """Times and peaks of each way.

        Raises:
            RuntimeError: our ids are not those of the nearest codes.
        """
        z = torch.randn(1, num_vectors, self.codes.shape[1], generator=torch.Generator().manual_seed(1)).to(self.codes.device)
        fitting = max(1, min(num_vectors, int(library_bytes / BYTES_A_PAIR / len(self.codes))))
        fed = {way: of_precision(way, z[:, :fitting] if way.startswith("library") else z) for way in self.ways}
        exact = {way: self._exact(way, z) for way, z in fed.items()}  # the first call of each, which is not timed
        if min(share for way, share in exact.items() if way.startswith("vtok")) < EXACT:
            raise RuntimeError(f"the nearest codes should be found, the shares are {exact}")
        times: dict[str, list[float]] = {way: [] for way in self.ways}
        peaks: dict[str, list[int]] = {way: [] for way in self.ways}
        for way in list(self.ways) * rounds:  # in turns
            seconds, peak = costs(partial(self._coder(way), fed[way]), self.codes.device)
            times[way].append(seconds)
            if peak is not None:
                peaks[way].append(peak)
        rows = {way: row(times[way], peaks[way], fed[way].shape[1], len(self.codes)) | {"exact": exact[way]} for way in self.ways}
        return {"codes": len(self.codes), "dim": self.codes.shape[1], "ways": rows, "ratio": ratios(rows)}

    def _coder(self, way: str) -> Callable[[Tensor], Tensor]:
        return self.coders[way.replace(" bf16", "")]

    def _exact(self, way: str, z: Tensor) -> float:
        z = z[:, :CHECKED]
        points = self.quantizer.place(z[0].double())
        nearest = torch.cdist(points, self.quantizer.compared()[0].double()).argmin(1)
        return round(float((self._coder(way)(z).flatten() == nearest).float().mean()), 4)


def of_precision(way: str, z: Tensor) -> Tensor:
    """Latents as a way takes them."""
    return z.bfloat16() if "bf16" in way else z


def row(seconds: Sequence[float], peaks: Sequence[int], num_vectors: int, num_codes: int) -> dict[str, Any]:
    """One way's line; without peaks none is told."""
    found = {"vectors": num_vectors} | fine_spread(seconds) | {"vectors_per_s": round(num_vectors / median(seconds))}
    return found | ({"bytes_per_pair": round(max(peaks) / num_vectors / num_codes, 3)} if peaks else {})


def ratios(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Of each of our ways to the library's of the same precision: how many times as fast, and which share of its bytes a pair."""
    found = {}
    for way, own in rows.items():
        if way.startswith("vtok"):
            other = rows[way.replace("vtok", "library").removesuffix(" compiled")]
            found[way] = {"speed": round(own["vectors_per_s"] / other["vectors_per_s"], 2)}
            if other.get("bytes_per_pair"):
                found[way]["memory"] = round(own["bytes_per_pair"] / other["bytes_per_pair"], 3)
    return found


def costs(call: Callable[[], object], device: torch.device) -> tuple[float, int | None]:
    """Seconds of a call, and the bytes that it adds at its peak; None where a system does not tell them."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        return timed(call, device), torch.cuda.max_memory_allocated(device) - before
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls left would serve this one unseen
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now what the process has
    before_kb = _resident_kb("VmRSS")
    seconds = timed(call, device)
    after_kb = _resident_kb("VmHWM")
    return seconds, None if before_kb is None or after_kb is None else 1024 * max(0, after_kb - before_kb)


def _resident_kb(name: str) -> int | None:
    """A figure of this process that Linux tells."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, nargs="+", default=[4096, 16384, 65536])
    parser.add_argument("--dims", type=int, nargs="+", default=[8, 16, 64])
    parser.add_argument("--vectors", type=int, default=65536)
    parser.add_argument("--library-bytes", type=float, default=8e9)
    parser.add_argument("--device", default="cpu", choices=list(WAYS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    library = f"vector-quantize-pytorch {version('vector-quantize-pytorch')}"
    result = head("quantizer_speed") | {"library": library, "device": args.device}
    if args.device == "cuda" and not torch.cuda.is_available():
        report(result | {"left_out": "there is no GPU here"}, args.output)
        return
    runs = []
    for metric in METRICS:
        for num_codes in args.codes:
            for dim in args.dims:
                codes = torch.randn(num_codes, dim, generator=torch.Generator().manual_seed(0)).to(args.device)
                bench = Bench(metric, codes, WAYS[args.device])
                runs.append({"metric": metric} | bench.run(args.vectors, args.library_bytes, args.rounds))
    report(result | {"runs": runs}, args.output)


if __name__ == "__main__":
    main()
