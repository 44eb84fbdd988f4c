"""What does each choice in the fit of `linear` give? Small fits of the same recipe, alike but for one setting, on held-out photographs.

    python -m benchmarks.linear_variants PHOTOS --autoencoder-weights FILE -o results/linear_variants.json

Each is fitted on the training part of PHOTOS and measured on the held-out part, with equal lengths. LPIPS needs its trunk:
VTOK_LPIPS_WEIGHTS.
"""

import argparse
from typing import Any

import torch

from benchmarks.pictures import Pictures, add_options, from_options
from benchmarks.quality import Original
from benchmarks.rate_distortion import encode, measure
from benchmarks.record import Row, head, mean_rows, report
from vtok.data.sources import Sample
from vtok.eval.pairs.lpips import Lpips
from vtok.tokenizers.linear import LinearTokenizer
from vtok.train.config import check, load_config
from vtok.train.objectives.linear import LinearObjective
from vtok.train.samples.pictures import open_pictures

SMALL = ("linear.num_tiles=10000", "linear.rounds=3", "linear.metric.num_passes=60")
ONE_STAGE = "linear.stages=[{tokens=64}]"
VARIANTS = {
    "latents' own error, one stage": ('linear.metric.kind="latents"', ONE_STAGE),
    "decoder's metric, one stage": (ONE_STAGE,),
    "decoder's metric with LPIPS / 10, one stage": ("linear.metric.lpips=0.1", ONE_STAGE),
    "decoder's metric, stages of 4, 12, 48": ("linear.stages=[{tokens=4}, {tokens=12}, {tokens=48, rate=0.8}]",),
}
LENGTHS = (1, 4, 16, 64)


def fit(overrides: tuple[str, ...], place: str) -> LinearTokenizer:
    """Fit the recipe `linear64` with small settings and these overrides."""
    config = load_config("linear64", [f"data.path={place}", "data.split=train", *SMALL, *overrides])
    objective = LinearObjective(check(LinearObjective.Config, config.settings(), "[linear]"))
    return objective.prepare(open_pictures(config.data, config.seed), torch.Generator().manual_seed(config.seed))


def curve(sample: Sample, tokenizer: LinearTokenizer, lpips: Lpips) -> list[Row]:
    """Rows of equal lengths of one picture."""
    original, encoded = Original(sample.pixels, lpips), encode(sample.pixels, tokenizer)
    return [measure(encoded.equal(tokens), tokenizer, original) for tokens in LENGTHS]


def main() -> None:
    """Parse options, fit, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.set_defaults(split="held_out")
    parser.add_argument("--autoencoder-weights", metavar="FILE", help="of taef2; those in the package when left out")
    options = parser.parse_args()
    weights = (f"linear.autoencoder_weights={options.autoencoder_weights}",) if options.autoencoder_weights else ()
    pictures: Pictures = from_options(options)
    lpips = Lpips()
    rows: dict[str, Any] = {}
    for name, overrides in VARIANTS.items():
        tokenizer = fit((*weights, *overrides), options.data)
        means = mean_rows([curve(sample, tokenizer, lpips) for sample in pictures])
        rows[name] = {"settings": overrides, "mean": means}
    report(head("linear_variants") | {"data": pictures.facts(), "settings": SMALL, "variants": rows}, options.output)


if __name__ == "__main__":
    main()
