"""What do the prefix rule, the alignment loss and the linear start each give `nested`? Equal small runs, alike but for these.

    python -m benchmarks.nested_ablation --data PHOTOS --start MODEL --folder RUNS -o results/nested_ablation.json
    python -m benchmarks.nested_ablation --markdown results/nested_ablation.json

All variants of a table have the same number of steps, the same seed and so the same crops, and are measured on the same squares in the
middle of held-out pictures. A pair decodes twice in a step, so its steps take longer than those of a single rule. A random start has as
many tokens as the linear one, of a shared table of as many codes; the autoencoder's decoder is trained in both. The first row of the
table is the linear start itself.

The same command goes on where it was cut off when `--folder` names a place for the runs: finished variants are not run again.
LPIPS needs its trunk: VTOK_LPIPS_WEIGHTS.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from benchmarks.record import head, model_facts, report
from vtok.data.atomic import write_bytes
from vtok.eval.pairs.lpips import Lpips
from vtok.tokenizers.linear import LinearTokenizer
from vtok.train import TABLE, RunConfig, load_config, run
from vtok.train.config import check
from vtok.train.engine.run_folder import RunFolder
from vtok.train.engine.validation import Validation
from vtok.train.samples.held_out import held_out_crops
from vtok.weights import load

Row = dict[str, Any]  # what the variant is, then its figures

RULES = {
    "uniform": '"uniform"',
    "pow2": '"pow2"',
    "pair of uniform": '{rule="pair", of="uniform"}',
    "pair of pow2": '{rule="pair", of="pow2"}',
}
SMALL = (
    "nested.model.encoder={dim=96, depth=2, heads=3}",
    "nested.model.decoder={dim=96, depth=2, heads=3}",
    "nested.spread=0.0",
    "nested.network={learning_rate=1e-3, warmup_steps=10}",
    "nested.autoencoder_decoder={learning_rate=3e-4, warmup_steps=10}",
    "nested.codes={learning_rate=1e-4, warmup_steps=10, weight_decay=0.0}",
    "train.ema=0.95",
    "train.validation.every=0",
    "train.image_every=0",
    "train.trackers=[]",
    "train.keep=1",
)
LENGTHS = (1, 4, 16, 64)


@dataclass(frozen=True)
class Variant:
    """One run of the table.

    Args:
        prefix: a key of `RULES`.
        alignment: None where no pair is decoded.
        linear: begins as the linear coder; otherwise with random weights.
    """

    prefix: str
    alignment: bool | None
    linear: bool

    @property
    def name(self) -> str:
        """For folders and options."""
        words = (self.prefix.replace(" ", "-"), {True: "aligned", False: "unaligned", None: ""}[self.alignment], self._start)
        return "_".join(word for word in words if word)

    @property
    def facts(self) -> Row:
        """What it is, for a row."""
        return {"prefix": self.prefix, "alignment": self.alignment, "start": self._start}

    @property
    def _start(self) -> str:
        return "linear" if self.linear else "random"

    def overrides(self, start: LinearTokenizer, folder: Path) -> list[str]:
        """Its settings.

        Args:
            start: the linear start, which also decides the tokens of a random one.
            folder: where that is.
        """
        settings = [f"nested.prefix={RULES[self.prefix]}"]
        if self.alignment is not None:
            settings.append(f"nested.alignment={float(self.alignment)}")
        if self.linear:
            return [*settings, f"nested.start={json.dumps(str(folder))}"]
        sizes = f"num_tokens={start.spec.max_tokens}, codebook_size={start.config.codebook_size}"
        tile = f"nested.linear.tile_size={start.config.tile_size}"
        return [*settings, 'nested.start="random"', f'nested.quantizer={{kind="vq", shared=true, {sizes}}}', tile]


VARIANTS = {
    variant.name: variant
    for prefix in RULES
    for alignment in ((True, False) if prefix.startswith("pair") else (None,))
    for linear in (True, False)
    for variant in [Variant(prefix, alignment, linear)]
}


class Runs:
    """Runs variants and keeps their rows; `untrained` has the figures of the linear start.

    Args:
        recipe: as `vtok train` takes it.
        settings: changes to it that all variants have.
        folder: of the runs.
        start: folder of the linear start.
        validation: measures at the lengths of the table.
    """

    def __init__(self, recipe: str, settings: Sequence[str], folder: Path, start: Path, validation: Validation):
        self._recipe, self._settings = recipe, settings
        self._folder, self._validation = folder, validation
        self._start, self._place = cast(LinearTokenizer, load(start)), start
        self.untrained = figures(validation, start)

    def row(self, variant: Variant) -> Row:
        """The row of a variant, which is run unless its row is there already."""
        config = load_config(self._recipe, [*self._settings, *variant.overrides(self._start, self._place)])
        place = self._folder / f"{variant.name}-{self._digest(config)}"
        kept = self._folder / f"{place.name}.json"
        if kept.exists():
            return cast(Row, json.loads(kept.read_text()))
        sys.stderr.write(f"{variant.name}: {config.train.steps} steps\n")
        run(config, TABLE, place, show_progress=sys.stderr.isatty())
        row = variant.facts | figures(self._validation, place)
        write_bytes(kept, json.dumps(row).encode())
        shutil.rmtree(RunFolder(place).checkpoints)
        return row

    def _digest(self, config: RunConfig) -> str:
        """Of all that a row depends on, so that rows of other settings are not taken for it."""
        facts = (config.model_dump(mode="json"), self._start.code_digest, list(self.untrained), list(self._validation.images.shape))
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def figures(validation: Validation, model: Path) -> Row:
    """Means over the held-out squares: `psnr_N` in dB and, where it is measured, `lpips_N` at N tokens."""
    scores = validation.measure(load(model))
    psnrs = {f"psnr_{length}": round(value, 3) for length, value in scores.psnr.items()}
    return psnrs | {f"lpips_{length}": round(value, 4) for length, value in (scores.lpips or {}).items()}


def fitted_start(config: RunConfig, folder: Path) -> Path:
    """The folder of the linear coder that the recipe's own section `linear` describes, fitted unless it is there already."""
    data = config.data.model_dump(mode="json")
    values = {"objective": "linear", "seed": config.seed, "data": data, "linear": config.settings().get("linear", {})}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    place = folder / f"linear-{digest[:12]}"
    if not (place / "config.json").exists():
        sys.stderr.write("fitting the linear start\n")
        run(check(RunConfig, values, "the linear start"), TABLE, place)
    return place


def markdown(result: Row) -> str:
    """A result as a table: a line a variant, PSNR in dB and LPIPS at each number of tokens."""
    rows = [{"prefix": "none, untrained", "alignment": None, "start": "linear"} | result["untrained"], *result["variants"]]
    columns = {"prefix": "prefix rule", "alignment": "alignment", "start": "start"}
    columns |= {key: f"{key.partition('_')[0].upper()} at {key.partition('_')[2]}" for key in result["untrained"]}
    lines = [list(columns.values()), ["---"] * 3 + ["--:"] * (len(columns) - 3)]
    lines += [[_cell(key, row[key]) for key in columns] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(key: str, value: Any) -> str:
    if key == "alignment":
        return {True: "on", False: "off", None: ""}[value]
    return str(value) if isinstance(value, str) else f"{value:.{2 if key.startswith('psnr') else 3}f}"


def _table(options: argparse.Namespace, folder: Path) -> Row:
    settings = [*SMALL, f"train.steps={options.steps}", f"train.batch_size={options.batch}", f"data.crop_size={options.crop}"]
    settings += [f"seed={options.seed}", *([f"data.path={json.dumps(options.data)}"] if options.data else []), *options.set]
    config = load_config(options.recipe, settings)
    start = options.start or fitted_start(config, folder)
    linear = load(start)
    crops = held_out_crops(config.data, options.pictures, seed=config.seed)
    validation = Validation(crops, linear.spec, options.lengths, lpips=None if options.no_lpips else Lpips())
    runs = Runs(options.recipe, settings, folder, start, validation)
    return {
        "recipe": options.recipe,
        "settings": [text for text in settings if not text.startswith("data.path=")],
        "start": model_facts(linear, start.name),
        "data": {"folder": Path(options.data).name if options.data else None, "held_out_crops": list(crops.shape)},
        "untrained": runs.untrained,
        "variants": [runs.row(VARIANTS[name]) for name in options.variants],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path, metavar="RESULT", help="print a result as a Markdown table, and do nothing else")
    parser.add_argument("--data", help="what a data set can be")
    parser.add_argument("--start", type=Path, help="a model folder of `linear`; fitted by the recipe when left out")
    parser.add_argument("--folder", type=Path, help="where the runs are kept; a temporary one when left out")
    parser.add_argument("--recipe", default="photo64", help="default: %(default)s, made small")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value of the recipe in all variants")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME", help=", ".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=4, help="crops a step")
    parser.add_argument("--crop", type=int, default=128, help="side of a crop in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="TOKENS")
    parser.add_argument("--pictures", type=int, default=64, metavar="N", help="held-out squares measured")
    parser.add_argument("--no-lpips", action="store_true", help="measure PSNR only")
    parser.add_argument("-o", "--output", type=Path, help="write the result here too")
    return parser


def main() -> None:
    """Parse options, run, report."""
    options = _parser().parse_args()
    if options.markdown:
        sys.stdout.write(markdown(json.loads(options.markdown.read_text())))
        return
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        report(head("nested_ablation") | _table(options, folder), options.output)


if __name__ == "__main__":
    main()
