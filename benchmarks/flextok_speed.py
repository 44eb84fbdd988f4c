"""How fast are FlexTok's encoder and decoder beside a straightforward build of the same model with the same weights?

    python -m benchmarks.flextok_speed -o results/flextok_speed.json
    python -m benchmarks.flextok_speed --device cuda --batch 1 64 --tokens 16 256 -o results/flextok_speed_cuda.json

Both run in turns in one process, so that a slow moment of the machine meets both; ratios are of medians. What is timed begins and ends
with maps of latents: the autoencoder is the same for both. Encoding ends with ids. Decoding is guided, by Euler's steps; its `seconds` are
of one step, with that step's share of what is done once a string, and `pictures_per_s` those of all steps. The straightforward one keeps
each missing register in its sequence and computes all modulations at each step (`benchmarks/plain_flextok.py`). On a GPU there are bfloat16
and compiled networks too. Weights are random: speed does not depend on them. Ids and maps of both are compared before anything is timed.
The peak is the fastest matrix product found on the device; a share of it counts the operations that each way needs itself.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmarks.plain_flextok import PlainFlextok
from benchmarks.record import head, report
from benchmarks.titok_speed import in_turns, peak
from vtok.models.autoencoders.registry import DiffusersConfig
from vtok.models.transformer import TransformerConfig
from vtok.tokenizers.base import DecodeOptions
from vtok.tokenizers.flextok import FlextokConfig, FlextokTokenizer
from vtok.tokenizers.titok import scattered

WAYS = {"cpu": ("plain", "vtok"), "cuda": ("plain", "vtok", "plain bf16", "vtok bf16", "vtok bf16 compiled")}
STEPS = {"cpu": 5, "cuda": 25}
SAME_IDS, SAME_MAPS = 0.99, 1e-3  # least share and largest difference; an id differs where a component lies between two levels


class Side(Protocol):
    def encode(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) to ids (B, N)."""

    def decode(self, ids: Tensor, noise: Tensor, steps: int) -> Tensor:
        """Ids (B, n) and noise (B, C, h, w) to maps of that shape."""


class Fast:
    """A `FlextokTokenizer`, called as `PlainFlextok` is."""

    def __init__(self, model: FlextokTokenizer):
        self.model = model

    @torch.no_grad()
    def encode(self, maps: Tensor) -> Tensor:
        return self.model.quantize(self.model.encoder(maps)).ids[..., 0]

    @torch.no_grad()
    def decode(self, ids: Tensor, noise: Tensor, steps: int) -> Tensor:
        lengths = torch.full((len(ids),), ids.shape[1], device=ids.device)
        return self.model.sample_maps(self.model.lookup(ids[..., None], lengths), lengths, noise, DecodeOptions(steps=steps))


class Bench:
    """One model by several ways.

    Args:
        model: on the device.
        ways: of `WAYS`, "plain" and "vtok" among them.
        rounds: that count.
        steps: of a decode.
        peaks: 10**9 operations a second by "fp32" and "bf16".
    """

    def __init__(self, model: FlextokTokenizer, ways: Sequence[str], rounds: int, steps: int, peaks: Mapping[str, float]):
        self.model, self.ways, self.rounds, self.steps, self.peaks = model, ways, rounds, steps, peaks
        self.device = model.decoder.mask_token.device
        self.sides: dict[str, Side] = {"plain": PlainFlextok(model), "vtok": Fast(model)}
        if any("compiled" in way for way in ways):
            self.sides["vtok compiled"] = Fast(compiled(model))

    def run(self, batch: int, lengths: Sequence[int]) -> dict[str, Any]:
        """Times of an encode and of decodes from each of some numbers of tokens.

        Raises:
            RuntimeError: the sides do not compute the same.
        """
        noise = self.model.noise(range(batch), [(0, 0)] * batch)
        maps = torch.randn(noise.shape, generator=torch.Generator().manual_seed(1)).to(self.device)
        ids = self.sides["plain"].encode(maps)
        same = self._compared(lambda found: float((found == ids).float().mean()), "encode", maps)
        if same["vtok"] < SAME_IDS:
            raise RuntimeError(f"both sides should have the same ids, the share is {same['vtok']}")
        encode = {"same_ids": same} | self._measured("encode", maps)
        return {"batch": batch, "encode": encode, "decode": [self._decode(ids[:, :length], noise) for length in lengths]}

    def _decode(self, ids: Tensor, noise: Tensor) -> dict[str, Any]:
        right = self.sides["plain"].decode(ids, noise, self.steps)
        off = self._compared(lambda found: float((found - right).abs().max()), "decode", ids, noise, self.steps)
        if not off["vtok"] <= SAME_MAPS:
            raise RuntimeError(f"both sides should make the same maps of {ids.shape[1]} tokens, they differ by {off['vtok']}")
        return {"tokens": ids.shape[1], "largest_difference": off} | self._measured("decode", ids, noise, self.steps)

    def _measured(self, task: str, first: Tensor, *more: Any) -> dict[str, Any]:
        """Operations of a picture (in a step), and rows of times with their ratios."""
        steps, batch = more[-1] if more else 1, len(first)
        own = {name: operations(partial(getattr(self.sides[name], task), first, *more)) / steps for name in ("plain", "vtok")}
        times = in_turns(self._calls(task, first, *more), self.rounds, self.device)
        rows = {}
        for way, seconds in times.items():
            middle = median(seconds)
            limit = self.peaks["bf16" if "bf16" in way else "fp32"]
            rows[way] = fine_spread(seconds, steps) | {
                "pictures_per_s": round(batch / middle, 3),
                "share_of_peak": round(own[way.split()[0]] * steps / middle / limit, 3),
            }
        ratios = {way: round(median(times[_beside(way)]) / median(times[way]), 3) for way in times if way.startswith("vtok")}
        return {"gflop_per_picture": {name: round(count / batch, 3) for name, count in own.items()}, "ways": rows, "ratio": ratios}

    def _compared(self, figure: Callable[[Tensor], float], task: str, *fed: Any) -> dict[str, float]:
        """A figure of what each way but the plain one finds; networks are compiled here, for the sizes at hand."""
        torch.compiler.reset()  # past some sizes compiled networks would no longer be, without a word
        return {way: figure(call()) for way, call in self._calls(task, *fed).items() if way != "plain"}

    def _calls(self, task: str, *fed: Any) -> dict[str, Callable[[], Tensor]]:
        return {way: self._call(way, task, fed) for way in self.ways}

    def _call(self, way: str, task: str, fed: Sequence[Any]) -> Callable[[], Tensor]:
        call = getattr(self.sides[way.replace(" bf16", "")], task)

        def run() -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16, enabled="bf16" in way):
                return call(*fed)

        return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=12, help="blocks of either network, each 64 * depth wide")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--steps", type=int, help=f"of a decode; {STEPS['cpu']}, on a GPU {STEPS['cuda']}")
    parser.add_argument("--device", default="cpu", choices=list(WAYS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result = head("flextok_speed") | {"model": f"d{args.depth}-d{args.depth}, 256 px", "device": args.device}
    if args.device == "cuda" and not torch.cuda.is_available():
        report(result | {"left_out": "there is no GPU here"}, args.output)
        return
    device, steps = torch.device(args.device), args.steps or STEPS[args.device]
    peaks = {name: peak(device, dtype) for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
    bench = Bench(of_depth(args.depth).to(device), WAYS[args.device], args.rounds, steps, peaks)
    runs = [bench.run(batch, args.tokens) for batch in args.batch]
    report(result | {"steps": steps, "peak_gflops": peaks, "runs": runs}, args.output)


def of_depth(depth: int) -> FlextokTokenizer:
    """The published layout for 256 pixels with random weights: maps of 16 * 32 * 32, 256 registers. Its autoencoder is a stand-in."""
    sizes = TransformerConfig(dim=64 * depth, depth=depth, heads=depth)
    layers = {"block_out_channels": [4] * 4, "norm_num_groups": 4, "latent_channels": 16}
    kinds = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    stand_in = DiffusersConfig(architecture="AutoencoderKL", settings=layers | kinds)
    return scattered(FlextokTokenizer(FlextokConfig(encoder=sizes, decoder=sizes, autoencoder=stand_in))).requires_grad_(False)


def compiled(model: FlextokTokenizer) -> FlextokTokenizer:
    """A copy whose networks are compiled for each size of sequence."""
    copy = deepcopy(model)
    for network in (copy.encoder, copy.decoder):
        network.compile(dynamic=False)
    return copy


def operations(call: Callable[[], object]) -> float:
    """10**9 floating-point operations of matrix products, those of attention included, all of them where a mask hides some."""
    uncounted = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # by PyTorch 2.14
    with FlopCounterMode(display=False, custom_mapping={uncounted: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)}) as counter:
        call()
    return counter.get_total_flops() / 1e9


def fine_spread(seconds: Sequence[float], parts: int = 1) -> dict[str, Any]:
    """Median, least and most of some runs' seconds to the microsecond, of one of the equal parts of a run, and how many runs there were."""
    median_least_most = {"seconds": median(seconds), "min": min(seconds), "max": max(seconds)}
    return {name: round(value / parts, 6) for name, value in median_least_most.items()} | {"runs": len(seconds)}


def _beside(way: str) -> str:
    """The straightforward way of the same precision."""
    return way.replace("vtok", "plain").removesuffix(" compiled")


if __name__ == "__main__":
    main()
