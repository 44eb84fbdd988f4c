"""taef2's group norms see the whole map. What if a large picture, coded in windows, had other statistics?

    python -m benchmarks.window_statistics PICTURES --training PHOTOS --model MODEL -o results/window_statistics.json

Three choices, on pictures small enough to be coded at once too:
`whole`: one pass over the picture gives the statistics, windows use them (what the product does);
`own`: each window is coded alone, its margin in its statistics;
`fixed`: the mean statistics of the held-out part of PHOTOS, the same for all pictures and windows.
For each: PSNR and LPIPS of the autoencoder's reconstruction (no tokens in between), `decode` with latents of the whole picture and `both`
with latents encoded in the same way; the grey levels by which the decoded picture differs from one decoded at once, mean and most over
pictures; and the share of tokens that come out otherwise when encoded so.
"""

import argparse
import copy
from collections.abc import Iterable
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.pictures import Pictures, add_options, from_options
from benchmarks.quality import Original
from benchmarks.record import Row, head, mean_rows, model_facts, report
from vtok.data.eight_bit import from_eight_bit, to_eight_bit
from vtok.eval.pairs.lpips import Lpips
from vtok.models.autoencoders import Autoencoder, taef2
from vtok.models.autoencoders.taef2 import PooledBlock, Taef2
from vtok.models.autoencoders.windows import in_windows
from vtok.tokenizers.linear import LinearTokenizer
from vtok.weights import load

MARGIN = 19  # latents: 18.2 of sight of the decoder, 18.1 of the encoder

Statistics = tuple[Tensor, Tensor]  # mean and variance (groups, 1) of a group norm's input


class WholeStatistics(Autoencoder):
    """The product's way, in smaller windows."""

    def __init__(self, network: Taef2, window: int):
        super().__init__()
        self.network, self.window = network, window

    def encode(self, images: Tensor) -> Tensor:
        with patch.object(taef2, "WINDOW", self.window):
            return self.network.encode(images)

    def decode(self, latents: Tensor) -> Tensor:
        with patch.object(taef2, "WINDOW", self.window):
            return self.network.decode(latents)


class OwnStatistics(Autoencoder):
    """Each window of latents, with its margin, as if it were a picture."""

    def __init__(self, network: Taef2, window: int):
        super().__init__()
        self.network, self.window = network, window

    def encode(self, images: Tensor) -> Tensor:
        step = self.network.downsample
        return in_windows(self.network.encode, images, window=step * self.window, margin=step * MARGIN, scale=1 / step)

    def decode(self, latents: Tensor) -> Tensor:
        return in_windows(self.network.decode, latents, window=self.window, margin=MARGIN, scale=self.network.downsample)


class FixedBlock(PooledBlock):
    """A pooled block whose norm has statistics of its own instead of those of the map."""

    def __init__(self, block: PooledBlock, statistics: Statistics):
        super().__init__()
        self.load_state_dict(block.state_dict())
        self.statistics = statistics

    def _norm_folded_into_first_layer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, norm, *_ = cast(tuple[nn.Conv2d, nn.GroupNorm], tuple(self.pool))
        mean, variance = self.statistics
        gain = norm.weight.view(norm.num_groups, -1) * (variance + norm.eps).rsqrt()  # (groups, 64)
        bias = norm.bias.view(norm.num_groups, -1) - gain * mean
        weight = gain.flatten()[:, None] * first.weight.flatten(1)  # (256, 64)
        return weight.expand(len(x), -1, -1), bias.flatten()[:, None].expand(len(x), -1, -1)


def with_fixed_statistics(network: Taef2, images: Iterable[Tensor]) -> Taef2:
    """The network with the mean statistics that its group norms have on some pictures (1, 3, H, W)."""
    fixed = copy.deepcopy(network)
    for half, own in ((network.encoder, fixed.encoder), (network.decoder, fixed.decoder)):
        for place, block in enumerate(half):
            if isinstance(block, PooledBlock):
                own[place] = _Watched(block)
    for picture in images:
        fixed.decode(fixed.encode(picture))
    for half in (fixed.encoder, fixed.decoder):
        for place, block in enumerate(half):
            if isinstance(block, _Watched):
                half[place] = FixedBlock(block.block, block.mean_statistics())
    return fixed


class _Watched(nn.Module):
    """A pooled block that remembers the statistics of its norm's input."""

    def __init__(self, block: PooledBlock):
        super().__init__()
        self.block = block
        self.seen: list[Statistics] = []

    def forward(self, x: Tensor) -> Tensor:
        groups = cast(nn.GroupNorm, self.block.pool[1]).num_groups
        variance, mean = torch.var_mean(self.block.pool[0](x).reshape(groups, -1), 1, correction=0, keepdim=True)
        self.seen.append((mean, variance))
        return cast(Tensor, self.block(x))

    def mean_statistics(self) -> Statistics:
        means, variances = zip(*self.seen, strict=True)
        return torch.stack(means).mean(0), torch.stack(variances).mean(0)


@torch.no_grad()
def compare(pixels: np.ndarray, tokenizer: LinearTokenizer, variants: dict[str, Autoencoder], lpips: Lpips | None) -> list[Row]:
    """Figures of each variant on a picture (H, W, 3), in their order; the first row is of the picture coded at once."""
    original, images = Original(pixels, lpips), from_eight_bit(pixels)
    network = tokenizer.autoencoder
    latents = network.encode(images)
    at_once, ids = _pixels(network.decode(latents)), _ids(tokenizer, network, images)
    rows = []
    for variant in (network, *variants.values()):
        decoded = _pixels(variant.decode(latents))
        both = _pixels(variant.decode(variant.encode(images)))
        off = np.abs(decoded.astype(int) - at_once)
        changed = float((_ids(tokenizer, variant, images) != ids).float().mean())
        rows.append(
            {f"decode_{key}": value for key, value in original.figures(decoded).items()}
            | {f"both_{key}": value for key, value in original.figures(both).items()}
            | {"mean_difference": float(off.mean()), "most_difference": int(off.max()), "tokens_changed": changed}
        )
    return rows


def _ids(tokenizer: LinearTokenizer, autoencoder: Autoencoder, images: Tensor) -> Tensor:
    with patch.object(tokenizer, "autoencoder", autoencoder):
        return tokenizer.encode_grid(images).ids


def _pixels(pictures: Tensor) -> np.ndarray:
    pixels: np.ndarray = to_eight_bit(pictures)[0].permute(1, 2, 0).numpy()
    return pixels


def whole_tiles(pixels: np.ndarray, side: int) -> np.ndarray:
    """The picture without what is left over right and below."""
    return pixels[: pixels.shape[0] // side * side, : pixels.shape[1] // side * side]


def variants_of(network: Taef2, windows: Iterable[int], training: Iterable[np.ndarray] | None) -> dict[str, Autoencoder]:
    """What is compared, by name. With statistics that are fixed, windows are as good as the whole, so one row says it."""
    found: dict[str, Autoencoder] = {}
    for window in windows:
        found[f"whole, windows of {window}"] = WholeStatistics(network, window)
        found[f"own, windows of {window}"] = OwnStatistics(network, window)
    if training is not None:
        images = (from_eight_bit(whole_tiles(pixels, network.downsample)) for pixels in training)
        with torch.no_grad():
            found["fixed"] = with_fixed_statistics(network, images)
    return found


def table(names: Iterable[str], tables: list[list[Row]]) -> list[dict[str, Any]]:
    """Means over pictures, with the most by which any picture differs."""
    most = [max(row["most_difference"] for row in rows) for rows in zip(*tables, strict=True)]
    rows = zip(names, mean_rows(tables), most, strict=True)
    return [{"statistics": name} | row | {"most_difference": top} for name, row, top in rows]


def main() -> None:
    """Parse options, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--model", help="a linear model on taef2's latents; the default weights when left out")
    parser.add_argument("--windows", type=int, nargs="+", default=[16, 32], metavar="LATENTS")
    parser.add_argument("--training", metavar="PHOTOS", help="where fixed statistics come from: its held-out part; left out, no such row")
    parser.add_argument("--training-pictures", type=int, default=40, metavar="N", help="so many of them, evenly spaced")
    parser.add_argument("--no-lpips", action="store_true", help="PSNR only")
    options = parser.parse_args()
    tokenizer = load(options.model)
    if not (isinstance(tokenizer, LinearTokenizer) and isinstance(tokenizer.autoencoder, Taef2)):
        parser.error("only models on taef2's latents have such statistics")
    training = Pictures(options.training, split="held_out", count=options.training_pictures) if options.training else None
    training_pixels = (sample.pixels for sample in training) if training else None
    variants = variants_of(tokenizer.autoencoder, options.windows, training_pixels)
    pictures, side = from_options(options), tokenizer.config.tile_size
    lpips = None if options.no_lpips else Lpips()
    tables = [compare(whole_tiles(sample.pixels, side), tokenizer, variants, lpips) for sample in pictures]
    data = {"data": pictures.facts()} | ({"training": training.facts()} if training else {})
    facts = {"model": model_facts(tokenizer, options.model)} | data | {"margin": MARGIN}
    report(head("window_statistics") | facts | {"mean": table(["at once", *variants], tables)}, options.output)


if __name__ == "__main__":
    main()
