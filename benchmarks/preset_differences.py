"""How far apart do the presets of `vtok eval` put one model on the same pictures?

    python -m benchmarks.preset_differences DATA --inception FILE --size 128 -o results/preset_differences.json

Pictures are cropped by each preset's rule, reconstructed by the default model at `--tokens` tokens, rounded by its rule, and measured
by PSNR, and by Fréchet and kernel distances of the features of Inception, with the preset's resize, and of AlexNet, which knows crops
and rounding alone. With the published weights in FILE it is FID; others show differences all the same.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.pictures import add_options, from_options
from benchmarks.record import head, report
from benchmarks.reference_packages import BATCH, outputs
from vtok.codec.reconstructor import Reconstructor
from vtok.eval.backbones.inception import load_inception
from vtok.eval.backbones.inception_backbone import INPUT_RULES
from vtok.eval.backbones.registry import open_backbone
from vtok.eval.backbones.weight_file import digest
from vtok.eval.distributions.frechet import frechet_distance
from vtok.eval.distributions.kernel import kernel_distance
from vtok.eval.pairs.measures import Measures
from vtok.eval.protocol.crops import CROPS
from vtok.eval.protocol.presets import TABLE, Preset
from vtok.eval.run.originals import originals, rounded
from vtok.eval.run.references import gaussian_of
from vtok.weights import load


def figures(preset: Preset, pixels: np.ndarray, decoded: Tensor, inception: Any) -> dict[str, Any]:
    """One preset's row.

    Args:
        pixels: (n, S, S, 3) uint8, cropped by its rule.
        decoded: (n, 3, S, S) float in [0, 1], what the model makes of them.
    """
    images = originals(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), preset)
    others = rounded(decoded, preset)
    row: dict[str, Any] = {"preset": preset.name, "crop": preset.crop, "rounding": preset.rounding, "resize": preset.inception_resize}
    row["psnr"] = float(torch.cat([Measures(("psnr",)).of(a).compare(b)["psnr"] for a, b in _batches(images, others)]).mean())
    networks = {"alex": open_backbone("alex")}
    if inception is not None:
        rule = INPUT_RULES[preset.inception_resize]
        networks["inception"] = lambda part: inception(rule(part))
    for name, network in networks.items():
        own, other = (outputs(part.float(), network)["features"] for part in (others, images))
        row[f"fd_{name}"] = frechet_distance(gaussian_of(own), gaussian_of(other))
        row[f"kd_{name}"] = kernel_distance(own, other).mean
    return row


def _batches(*sets: Tensor) -> Any:
    return zip(*(part.split(BATCH) for part in sets), strict=True)


def main() -> None:
    """Parse options, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--inception", type=Path, help="Inception's weights")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--size", type=int, default=128, help="side of the crops")
    options = parser.parse_args()
    samples, coder = from_options(options), Reconstructor(load(), name="default")
    pictures = [sample.pixels for sample in samples]
    inception = None if options.inception is None else load_inception(options.inception)
    decoded: dict[str, tuple[np.ndarray, Tensor]] = {}
    measured: dict[tuple[Any, ...], dict[str, Any]] = {}
    rows = []
    for preset in TABLE.values():
        if preset.crop not in decoded:
            pixels = np.stack([CROPS[preset.crop](picture, options.size) for picture in pictures])
            parts = [pixels[first : first + BATCH] for first in range(0, len(pixels), BATCH)]
            coded = [coder.encode(part, range(len(part)), [None] * len(part)).decode(options.tokens) for part in parts]
            decoded[preset.crop] = pixels, torch.cat(coded)
        kind = (preset.crop, preset.rounding, preset.rounds_originals, preset.inception_resize)
        if kind not in measured:  # presets that differ in the Inception score and the neighbours alone have equal rows
            measured[kind] = figures(preset, *decoded[preset.crop], inception)
        rows.append(measured[kind] | {"preset": preset.name})
    weights = None if options.inception is None else {"file": options.inception.name, "sha256": digest(options.inception)}
    facts = {"data": samples.facts(), "size": options.size, "tokens": options.tokens, "inception": weights, "rows": rows}
    report(head("preset_differences") | facts, options.output)


if __name__ == "__main__":
    main()
