"""What does `vtok eval` cost beside the model and the networks that measure?

    python -m benchmarks.evaluation_overhead DATA --pictures 64 -o results/evaluation_overhead.json

Evaluates the default model at 1, 2, 4, ... all tokens with PSNR, SSIM and LPIPS in a new cache, some rounds in turn with nothing but the
model and LPIPS's network on the same pictures, in the same batches. `overhead` is what the first takes beyond the second, as a share of the
first, medians; reading, cropping, PSNR, SSIM, sizes, digests and chunks on the disk are in it. LPIPS needs its trunk: VTOK_LPIPS_WEIGHTS.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.record import head, report
from vtok.codec.compare import doubling
from vtok.codec.reconstructor import Reconstructor
from vtok.data.sources import open_source
from vtok.data.sources.fingerprint import fingerprint
from vtok.eval.pairs.measures import Measures
from vtok.eval.protocol.presets import preset
from vtok.eval.run.jobs import do
from vtok.eval.run.metric_names import plan_metrics
from vtok.eval.run.originals import originals, rounded
from vtok.eval.run.picture_set import PictureSet
from vtok.eval.run.reconstructions import Instruments, Reconstructions
from vtok.eval.run.record import reconstruction_record
from vtok.eval.run.set_figures import SetFigures
from vtok.weights import load

RULES = preset("vtok")


def evaluate(pictures: PictureSet, coder: Reconstructor, lengths: list[int]) -> None:
    """A whole evaluation, record and all."""
    names = ("psnr", "ssim", "lpips")
    instruments = Instruments(plan_metrics(names, of="reconstructions"), Measures(names), {}, {}, "cpu")
    with tempfile.TemporaryDirectory() as cache:
        run = Reconstructions(pictures, coder, lengths, RULES, instruments, Path(cache))
        do([run], pictures, lambda _: None)
        reconstruction_record(run, SetFigures(None, RULES, False))


def networks_alone(chunks: list[np.ndarray], coder: Reconstructor, lengths: list[int]) -> None:
    """The model and LPIPS's network, on pictures that are in memory."""
    from vtok.eval.run.batches import as_tensor

    lpips = Measures(("lpips",))
    for pixels in chunks:
        coded = coder.encode(pixels, range(len(pixels)), [None] * len(pixels))
        against = lpips.of(originals(as_tensor(pixels), RULES))
        for n in lengths:
            against.compare(rounded(coded.decode(n), RULES))


def seconds(work: Callable[[], None]) -> float:
    """That some work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    """Parse options, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a folder, tars or parquet tables")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--size", type=int, default=64, help="side of the crops")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    coder = Reconstructor(load(), name="default")
    source, lengths = open_source(options.data), doubling(coder.spec)
    pictures = PictureSet(source, Path(options.data).name, fingerprint(options.data), options.pictures, RULES.crop, options.size, 32)
    chunks = [np.stack([picture.pixels for picture in part.readable]) for part in pictures.read(list(pictures.starts))]
    networks_alone(chunks[:1], coder, lengths[:1])
    found = [
        (seconds(lambda: evaluate(pictures, coder, lengths)), seconds(lambda: networks_alone(chunks, coder, lengths)))
        for _ in range(options.rounds)
    ]
    whole, networks = (median(part) for part in zip(*found, strict=True))
    figures = {
        "pictures": len(pictures),
        "size": options.size,
        "lengths": lengths,
        "seconds": {"evaluation": round(whole, 3), "model_and_lpips": round(networks, 3)},
        "rounds": [[round(second, 3) for second in pair] for pair in found],
        "overhead": round(median((one - other) / one for one, other in found), 4),
        "pictures_per_s": round(len(pictures) / whole, 3),
    }
    report(head("evaluation_overhead") | figures, options.output)


if __name__ == "__main__":
    main()
