"""How fast is FlexTok's encoder's attention by `scaled_dot_product_attention`, and by a compiled `flex_attention`?

    python -m benchmarks.register_attention -o results/register_attention.json
    python -m benchmarks.register_attention --device cuda --batch 1 64 -o results/register_attention_cuda.json

Patches look at patches, a register at all patches and at the registers up to itself. `layer`: all tokens ask, as in all layers but the
last; `registers`: the registers alone ask, as in the last one. `mask` is one call with a dense mask; `vtok` is the package's way
(`vtok.models.gated_transformer.patches_then_registers`), which makes its mask in each call; `flex` is compiled and given a mask made
before. They run in turns in one process; their answers are compared before anything is timed. `flex_ratio` has the median of `flex` over
that of each other way: above 1 `flex` is slower. Where it cannot be compiled, the result says why.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.flextok_speed import fine_spread
from benchmarks.record import head, report
from benchmarks.titok_speed import in_turns
from vtok.models.gated_transformer import norm, patches_then_registers

SAME = {torch.float32: 1e-4, torch.bfloat16: 3e-2}  # largest difference between answers, which are about 1
DTYPES = {"cpu": (torch.float32,), "cuda": (torch.float32, torch.bfloat16)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=12, help="of 64 numbers")
    parser.add_argument("--patches", type=int, default=256)
    parser.add_argument("--registers", type=int, default=256)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--device", default="cpu", choices=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result = head("register_attention") | {key: getattr(args, key) for key in ("device", "heads", "patches", "registers")}
    if args.device == "cuda" and not torch.cuda.is_available():
        report(result | {"left_out": "there is no GPU here"}, args.output)
        return
    device, runs = torch.device(args.device), []
    for batch in args.batch:
        for dtype in DTYPES[args.device]:
            generator = torch.Generator().manual_seed(0)
            shape = batch, args.patches + args.registers, args.heads, 64
            q, k, v = (torch.randn(shape, generator=generator).transpose(1, 2).to(device, dtype) for _ in range(3))
            asking = {"layer": 0, "registers": args.patches}
            tasks = {name: measure(norm(q), norm(k), v, args.patches, first, args.rounds) for name, first in asking.items()}
            runs.append({"batch": batch, "dtype": str(dtype).removeprefix("torch.")} | tasks)
    report(result | {"runs": runs}, args.output)


@torch.no_grad()
def measure(q: Tensor, k: Tensor, v: Tensor, num_patches: int, first: int, rounds: int) -> dict[str, Any]:
    """Times of all ways.

    Args:
        q, k, v: (B, heads, T, d), patches first.
        first: of the tokens that ask; all after it ask too.

    Raises:
        RuntimeError: the ways do not compute the same.
    """
    total, scale = k.shape[2], 8 / k.shape[3]
    places = torch.arange(total, device=q.device)
    allowed = (places < num_patches) | (places <= places[first:, None])
    asking = q[:, :, first:]
    ways: dict[str, Callable[[], Tensor]] = {
        "mask": lambda: scaled_dot_product_attention(asking, k, v, allowed, scale=scale),
        "vtok": lambda: patches_then_registers(num_patches)(asking, k, v, scale),
    }
    found: dict[str, Any] = {}
    try:
        flex = compiled(asking, k, v, num_patches)
        flex()
        ways["flex"] = flex
    except RuntimeError as error:  # all that a compiler raises is one
        found["left_out"] = {"flex": str(error).strip().partition("\n")[0]}
    right = ways["mask"]()
    found["largest_difference"] = {way: float((call() - right).abs().max()) for way, call in ways.items() if way != "mask"}
    if not max(found["largest_difference"].values()) <= SAME[q.dtype]:
        raise RuntimeError(f"all ways should give the same, they differ by {found['largest_difference']}")
    times = in_turns(ways, rounds, q.device)
    found |= {way: fine_spread(own) for way, own in times.items()}
    if "flex" in ways:
        found["flex_ratio"] = {way: round(median(times["flex"]) / median(times[way]), 3) for way in ("mask", "vtok")}
    return found


def compiled(asking: Tensor, k: Tensor, v: Tensor, num_patches: int) -> Callable[[], Tensor]:
    """`flex_attention` with its mask, compiled for these sizes at the first call."""
    first = k.shape[2] - asking.shape[2]

    def seen(batch: Tensor, head: Tensor, asks: Tensor, place: Tensor) -> Tensor:  # noqa: ARG001 - all samples and heads alike
        return (place < num_patches) | (place <= asks + first)

    mask = create_block_mask(seen, None, None, asking.shape[2], k.shape[2], device=k.device)
    torch.compiler.reset()
    return partial(torch.compile(flex_attention, dynamic=False), asking, k, v, block_mask=mask, scale=8 / k.shape[3])


if __name__ == "__main__":
    main()
