"""How fast does a LlamaGen-sized generator draw strings beside a straightforward build of the same model with the same weights?

    python -m benchmarks.gpt_speed -o results/gpt_speed.json
    python -m benchmarks.gpt_speed --device cuda --batch 1 8 64 -o results/gpt_speed_cuda.json

All ways draw in turns in one process, so that a slow moment of the machine meets all; ratios are of medians. Both have a cache of keys and
values. The straightforward one has a matrix a layer by `nn.Linear`, looks at all places of a string behind a mask, and draws by
`torch.multinomial` (`benchmarks/plain_gpt.py`). Without a cache ours computes all tokens anew for each; that grows with the length, so it
draws fewer tokens, and so does ours with a cache that it is held against. Weights are random: speed does not depend on them. Greedy ids of
both are compared before anything is timed.

A step cannot take less time than the weights of all linear layers take to arrive from memory. How fast they can is measured in the same
turns, by a sum over 1 GB; `share_of_bandwidth` is that least time over the time of a step.
On a GPU there are bfloat16 and compiled steps too, as CUDA graphs.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.flextok_speed import fine_spread
from benchmarks.plain_gpt import PlainGpt
from benchmarks.record import head, report
from benchmarks.titok_speed import in_turns, timed
from vtok.generate.autoregressive import Sampling, sample
from vtok.generate.sampling.choose import GREEDY, Choice
from vtok.generate.sampling.guidance import Guidance
from vtok.generate.steps import CachedSteps, NewSteps, WholeSteps
from vtok.models.causal_transformer import Attend, CausalConfig
from vtok.models.gpt import Gpt, GptConfig
from vtok.models.packed_linear import packed

WAYS = {"cpu": ("plain", "vtok"), "cuda": ("plain", "vtok", "plain bf16", "vtok bf16", "plain bf16 compiled", "vtok bf16 compiled")}
SIZES = {"B": (12, 12, 768), "L": (24, 16, 1024), "XL": (36, 20, 1280)}  # blocks, heads, width
READ = 2**28  # float32 of the sum by which the bandwidth is found

Draw = Callable[[Tensor, float, bool], Tensor]
"""(classes (B,), scale of guidance, whether to take the best code) to ids (B, N)."""


class Fast:
    """Ours, called as `PlainGpt.generate` is.

    Args:
        num_tokens: of a string; None for full length.
    """

    def __init__(self, model: Gpt, new_steps: NewSteps = CachedSteps, num_tokens: int | None = None):
        self.model, self.new_steps, self.num_tokens = packed(model), new_steps, num_tokens

    def __call__(self, classes: Tensor, scale: float, greedy: bool) -> Tensor:
        sampling = Sampling(GREEDY if greedy else Choice(), Guidance(scale))
        ids, _ = sample(self.model, len(classes), classes, num_tokens=self.num_tokens, sampling=sampling, new_steps=self.new_steps)
        return ids[..., 0]


class Plain:
    """`PlainGpt` with or without a compiled step."""

    def __init__(self, model: Gpt, *, compiled: bool = False):
        device = model.head.norm.weight.device
        self.plain = PlainGpt(model).to(device, model.head.norm.weight.dtype)
        if compiled:
            self.plain.compile(mode="reduce-overhead")

    def __call__(self, classes: Tensor, scale: float, greedy: bool) -> Tensor:
        return self.plain.generate(classes, scale, greedy=greedy)


class FixedSteps(nn.Module):
    """Ours with steps of one shape, so that a compiled one can be a CUDA graph: a cache of full length behind a mask.

    It is the maker of steps and the steps at once, for a batch of one size and strings of one length.
    """

    cache: Tensor

    def __init__(self, model: Gpt):
        super().__init__()
        self.trunk, self.filled, self.length = model.trunk, 0, model.config.max_tokens
        like, sizes = model.head.norm.weight, model.config.trunk
        self.register_buffer("turns", model.turns(self.length).to(like.device), persistent=False)
        self.register_buffer("places", torch.arange(self.length, device=like.device), persistent=False)
        self.sizes = (sizes.depth, 2, 1, sizes.heads, self.length, sizes.head_dim)
        self.register_buffer("cache", like.new_zeros(self.sizes), persistent=False)
        self.step = torch.compile(self._step, mode="reduce-overhead")

    def begun(self, model: Gpt, rows: int, num_steps: int, seen: Tensor | None) -> "FixedSteps":  # noqa: ARG002 - as of `NewSteps`
        if self.cache.shape[2] != rows:
            self.cache = self.cache.new_zeros(*self.sizes[:2], rows, *self.sizes[3:])
        self.filled = 0
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.filled += 1
        return self.step(x, self.places[self.filled - 1 : self.filled])

    def keep(self, rows: slice) -> None:
        """Nothing: strings end together."""

    def _step(self, x: Tensor, place: Tensor) -> Tensor:
        seen = self.places <= place[:, None]
        return self.trunk(x, self.turns[place], [self._attend(layer, place, seen) for layer in self.cache])[:, -1]

    def _attend(self, layer: Tensor, place: Tensor, seen: Tensor) -> Attend:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            layer[:, :, :, place] = torch.stack([k, v])
            return scaled_dot_product_attention(q, layer[0], layer[1], seen)

        return attend


class Bench:
    """One model by several ways.

    Args:
        model: on the device.
        rounds: that count.
        whole_tokens: that are drawn without a cache.
    """

    def __init__(self, model: Gpt, rounds: int, whole_tokens: int):
        self.model, self.rounds, self.whole_tokens = model, rounds, whole_tokens
        self.device = model.head.norm.weight.device
        self.ways = {way: _way(model, way) for way in WAYS[self.device.type]}
        self.few = {"no cache": Fast(model, WholeSteps, whole_tokens), "vtok": Fast(model, CachedSteps, whole_tokens)}
        self.memory = torch.ones(READ, device=self.device)

    def run(self, batch: int, scale: float) -> dict[str, Any]:
        """Times of all ways for one size of batch.

        Raises:
            RuntimeError: the sides do not draw the same greedy ids.
        """
        classes = torch.arange(batch, device=self.device) * 37 % 1000
        right = self.ways["plain"](classes, scale, True)
        same = {way: float((draw(classes, scale, True) == right).float().mean()) for way, draw in self.ways.items() if way != "plain"}
        if same["vtok"] < 1:
            raise RuntimeError(f"both sides should draw the same greedy ids, the share is {same['vtok']}")
        few = {name: draw(classes, scale, True) for name, draw in self.few.items()}
        if not few["no cache"].equal(few["vtok"]):
            raise RuntimeError("greedy ids should be the same with a cache and without")
        times = self._in_turns(self.ways, classes, scale)
        read = median(times.pop("read"))
        rows = {way: self._row(way, own, batch, read) for way, own in times.items()}
        found = {"batch": batch, "guidance": scale, "same_greedy_ids": same, "ways": rows, "read_gb_per_s": round(self._read_gb / read, 2)}
        found["ratio"] = {way: round(median(times[way.replace("vtok", "plain")]) / median(times[way]), 3) for way in times if "vtok" in way}
        return found | {"no_cache": self._without_cache(classes, scale)}

    @property
    def _read_gb(self) -> float:
        return self.memory.nbytes / 1e9

    def _row(self, way: str, seconds: Sequence[float], batch: int, read: float) -> dict[str, Any]:
        tokens, middle = self.model.config.max_tokens, median(seconds)
        least = weight_gb(self.model) / (2 if "bf16" in way else 1) * read / self._read_gb
        shares = {"tokens_per_s": round(batch * tokens / middle, 2), "step_ms": round(middle / tokens * 1e3, 3)}
        return fine_spread(seconds) | shares | {"share_of_bandwidth": round(least * tokens / middle, 3)}

    def _without_cache(self, classes: Tensor, scale: float) -> dict[str, Any]:
        """Times of ours with a cache and without, over fewer tokens."""
        times = self._in_turns(self.few, classes, scale)
        rates = {way: round(len(classes) * self.whole_tokens / median(times[way]), 2) for way in self.few}
        return {"tokens": self.whole_tokens, "tokens_per_s": rates, "ratio": round(median(times["no cache"]) / median(times["vtok"]), 3)}

    def _in_turns(self, ways: Mapping[str, Draw], classes: Tensor, scale: float) -> dict[str, list[float]]:
        """Seconds of each way, and of the sum over `READ` numbers ("read")."""
        calls: dict[str, Callable[[], object]] = {way: partial(draw, classes, scale, False) for way, draw in ways.items()}
        return in_turns(calls | {"read": self.memory.sum}, self.rounds, self.device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="B", choices=list(SIZES))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0], help="scales; 1 is none")
    parser.add_argument("--whole-tokens", type=int, default=48, help="that are drawn without a cache")
    parser.add_argument("--device", default="cpu", choices=list(WAYS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result = head("gpt_speed") | {"model": f"LlamaGen-{args.model}, 16 * 16 tokens of 16384 codes", "device": args.device}
    if args.device == "cuda" and not torch.cuda.is_available():
        report(result | {"left_out": "there is no GPU here"}, args.output)
        return
    device = torch.device(args.device)
    model = of_size(args.model).to(device)
    packing = timed(partial(packed, model), device)
    bench = Bench(model, args.rounds, args.whole_tokens)
    started = time.perf_counter()
    runs = [bench.run(batch, scale) for batch in args.batch for scale in args.guidance]
    facts = {
        "weight_gb": round(weight_gb(model), 4),
        "packing_seconds": round(packing, 3),
        "minutes": round((time.perf_counter() - started) / 60, 1),
    }
    report(result | facts | {"runs": runs}, args.output)


def of_size(name: str) -> Gpt:
    """A generator of LlamaGen's sizes with random weights, those of the head too."""
    depth, heads, dim = SIZES[name]
    torch.manual_seed(0)
    model = Gpt(GptConfig(trunk=CausalConfig(depth=depth, heads=heads, dim=dim))).eval().requires_grad_(False)
    nn.init.normal_(model.head.outs[0].weight, std=0.02)
    return model


def weight_gb(model: Gpt) -> float:
    """10**9 bytes of the linear layers' weights in float32, all of which a step reads."""
    return sum(part.weight.numel() * 4 for part in model.modules() if isinstance(part, nn.Linear)) / 1e9


def _way(model: Gpt, way: str) -> Draw:
    own = deepcopy(model).bfloat16() if "bf16" in way else model
    if way.startswith("plain"):
        return Plain(own, compiled="compiled" in way)
    return Fast(own, FixedSteps(own).begun if "compiled" in way else CachedSteps)


if __name__ == "__main__":
    main()
