"""What does a flow decoder give that a feed-forward one does not? Two models of equal training time, on the same held-out pictures.

    python -m benchmarks.flow_decoder FLOW FEEDFORWARD PICTURES -o results/flow_decoder.json --sheet docs/flow_decoder.jpg

FLOW is a model of the family `flextok`, FEEDFORWARD one that decodes in one step by itself; both of the pictures' size, both nested. For
each length: PSNR and LPIPS, which ask how near a reconstruction is to its picture, and the Frechet distance of the reconstructions'
features from the pictures', which asks whether they look like pictures at all. The features are the means over places of the last layer of
LPIPS's AlexNet, so the distance is not FID and not comparable with any other. Then the same of the flow decoder by its number of steps.

LPIPS needs its trunk: VTOK_LPIPS_WEIGHTS.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import linalg
from torch import Tensor

from benchmarks.record import head, model_facts, report
from vtok.data.crops import center_crop
from vtok.data.eight_bit import from_eight_bit, to_eight_bit
from vtok.data.sources import open_source
from vtok.eval.pairs.lpips import Lpips
from vtok.eval.pairs.psnr import psnr
from vtok.models.decoders import DecodeOptions
from vtok.tokenizers.base import Tokenizer, Tokens
from vtok.train.engine.picture_grid import sheet
from vtok.weights import load_tokenizer

AT_ONCE = 50
STEPS = (1, 2, 4, 8, 16, 25, 50)
ENLARGED = 2  # pictures on the sheet


@dataclass
class Scores:
    """Sums over pictures of one way to decode."""

    lpips: Lpips
    psnrs: list[float] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)
    features: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0

    def update(self, images: Tensor, decoded: Tensor) -> None:
        """Take in pictures (B, 3, H, W) and their reconstructions."""
        shown = to_eight_bit(decoded)
        self.psnrs += [psnr(own.numpy(), other.numpy()) for own, other in zip(to_eight_bit(images), shown, strict=True)]
        rounded = shown.float() / 255
        self.distances += self.lpips(images, rounded).tolist()
        self.features.append(features_of(self.lpips, rounded))

    def row(self, wanted: Tensor) -> dict[str, float]:
        """Means, and the distance from the features (N, D) of the pictures themselves."""
        return {
            "psnr": round(float(np.mean(self.psnrs)), 3),
            "lpips": round(float(np.mean(self.distances)), 4),
            "frechet": round(frechet(torch.cat(self.features), wanted), 4),
            "seconds_per_picture": round(self.seconds / len(self.psnrs), 4),
        }


@torch.no_grad()
def features_of(lpips: Lpips, images: Tensor) -> Tensor:
    """(B, 256) float64: the means over places of the last layer's features, before they are brought to length 1."""
    return lpips.layers(images)[-1].mean((2, 3)).double()


def frechet(own: Tensor, wanted: Tensor) -> float:
    """The Frechet distance of two sets of features (N, D), as if they were normally distributed."""
    means, covariances = [x.mean(0).numpy() for x in (own, wanted)], [np.cov(x.numpy(), rowvar=False) for x in (own, wanted)]
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    return float(np.square(means[0] - means[1]).sum() + np.trace(covariances[0] + covariances[1] - 2 * np.real(root)))


@torch.no_grad()
def measure(
    tokenizer: Tokenizer, strings: Tokens, images: Tensor, wanted: Tensor, lpips: Lpips, num_tokens: int, options: DecodeOptions
) -> dict[str, float]:
    """The scores of one length."""
    scores = Scores(lpips)
    for first in range(0, len(images), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        begun = time.perf_counter()
        decoded = tokenizer.decode(strings[part].prefix(num_tokens), options)
        scores.seconds += time.perf_counter() - begun
        scores.update(images[part], decoded)
    return scores.row(wanted)


def encoded(tokenizer: Tokenizer, images: Tensor) -> Tokens:
    """The strings of all pictures."""
    return Tokens.cat([tokenizer.encode(images[first : first + AT_ONCE]) for first in range(0, len(images), AT_ONCE)])


def read(place: str, side: int, count: int) -> Tensor:
    """The first pictures of a data set, their middle squares, (N, 3, side, side)."""
    source = open_source(place)
    return torch.cat([from_eight_bit(center_crop(source[i].pixels, side)) for i in range(min(count, len(source)))])


@torch.no_grad()
def columns(images: Tensor, models: Sequence[tuple[str, Tokenizer, Tokens]], lengths: Sequence[int]) -> tuple[list[np.ndarray], list[str]]:
    """Pictures, then their reconstructions by each model and length, and what stands over each of these columns."""
    found = [("original", images)]
    found += [(f"{name} {n}", model.decode(strings.prefix(n))) for name, model, strings in models for n in lengths]
    return [to_eight_bit(pictures).permute(0, 2, 3, 1).numpy() for _, pictures in found], [name for name, _ in found]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flow", help="model folder")
    parser.add_argument("feedforward", help="model folder")
    parser.add_argument("pictures", help="data set that neither was trained on")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--sheet", type=Path, help="picture to write")
    parser.add_argument("--count", type=int, default=500, help="pictures measured by length")
    parser.add_argument("--count-steps", type=int, default=200, help="pictures measured by steps")
    parser.add_argument("--lengths", default="1,4,16,0", help="tokens; 0 for all")
    parser.add_argument("--steps-at", type=int, default=16, help="tokens of the curve by steps")
    parser.add_argument("--shown", default="0,1,2,3,4,5", help="numbers of the pictures on the sheet")
    given = parser.parse_args(arguments)
    models = {"flow": load_tokenizer(given.flow), "feedforward": load_tokenizer(given.feedforward)}
    spec = models["flow"].spec
    lengths = [int(text) or spec.max_tokens for text in given.lengths.split(",")]
    images, lpips, plain = read(given.pictures, spec.input_size[0], given.count), Lpips(), DecodeOptions()
    wanted = torch.cat([features_of(lpips, images[first : first + AT_ONCE]) for first in range(0, len(images), AT_ONCE)])
    strings = {name: encoded(model, images) for name, model in models.items()}
    result = head("flow_decoder") | {
        "models": {"flow": model_facts(models["flow"], given.flow), "feedforward": model_facts(models["feedforward"], given.feedforward)},
        "num_pictures": len(images),
        "by_tokens": {
            name: [{"tokens": n} | measure(model, strings[name], images, wanted, lpips, n, plain) for n in lengths]
            for name, model in models.items()
        },
        "by_steps": _by_steps(
            models["flow"], strings["flow"], images[: given.count_steps], wanted[: given.count_steps], lpips, given.steps_at
        ),
    }
    if given.sheet is not None:
        chosen = [int(text) for text in given.shown.split(",")]
        places = torch.tensor(chosen)
        pairs = [(shown, models[name], strings[name][places]) for name, shown in (("flow", "flow"), ("feedforward", "direct"))]
        drawn = sheet(*columns(images[places], pairs, lengths))
        Image.fromarray(drawn.repeat(ENLARGED, 0).repeat(ENLARGED, 1)).save(given.sheet)
    report(result, given.output)


def _by_steps(model: Tokenizer, strings: Tokens, images: Tensor, wanted: Tensor, lpips: Lpips, num_tokens: int) -> list[dict[str, Any]]:
    own = strings[: len(images)]
    return [
        {"steps": steps, "tokens": num_tokens} | measure(model, own, images, wanted, lpips, num_tokens, DecodeOptions(steps=steps))
        for steps in STEPS
    ]


if __name__ == "__main__":
    main()
