"""How long do encoding and decoding take, and how much memory?

    python -m benchmarks.speed --large -o results/speed.json

`processes`: whole commands from start to end. `coding`: in one process after start-up, equal lengths against lengths per tile in a file of
as many bytes, turn about. `--large`: one run each way on a picture of 8000 x 8000 pixels, made of pieces of the photograph at many scales.
`rss_floor_mb`: a system may count this script's own memory, which is that much, as that of a command.
"""

import argparse
import multiprocessing
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.processes import own_peak_rss_mb, run, spread, summary
from benchmarks.record import head, model_facts, report

PHOTO = Path(__file__).resolve().parent.parent / "examples" / "raccoon.jpg"
PIECE = 500  # side in pixels of a piece of the large picture


def processes(photo: Path, model: str | None, runs: int) -> dict[str, Any]:
    """Costs of the commands that a newcomer runs, `runs` times each."""
    with tempfile.TemporaryDirectory() as scratch:
        coded, small, decoded = (Path(scratch) / name for name in ("photo.vtok", "small.vtok", "out.png"))
        commands: dict[str, list[str | Path]] = {
            "encode": ["encode", photo, "-o", coded],
            "encode_bpp": ["encode", photo, "-o", small, "--bpp", "0.1"],
            "decode": ["decode", coded, "-o", decoded],
        }
        return {name: _measured(command, model, runs) for name, command in commands.items()}


def large(photo: Path, model: str | None, side: int) -> dict[str, Any]:
    """Costs of one run each way on a picture of `side` pixels a side."""
    with tempfile.TemporaryDirectory() as scratch:
        picture, coded, decoded = (Path(scratch) / name for name in ("large.jpg", "large.vtok", "large.png"))
        maker = multiprocessing.get_context("spawn").Process(target=make_large, args=(photo, picture, side))
        maker.start()  # apart, so that its memory is not counted as that of the commands
        maker.join()
        figures = {
            "encode": _measured(["encode", picture, "-o", coded], model, 1),
            "decode": _measured(["decode", coded, "-o", decoded], model, 1),
        }
        return {"pixels": [side, side], "picture_bytes": picture.stat().st_size, "vtok_bytes": coded.stat().st_size} | figures


def make_large(photo: Path, target: Path, side: int) -> None:
    """Write a JPEG of pieces cut out of the photograph at random places and scales; seeded."""
    rng = np.random.default_rng(0)
    source, canvas = Image.open(photo).convert("RGB"), Image.new("RGB", (side, side))
    for top in range(0, side, PIECE):
        for left in range(0, side, PIECE):
            cut = int(rng.integers(min(source.size) // 4, min(source.size) + 1))
            x, y = (int(rng.integers(0, extent - cut + 1)) for extent in source.size)
            canvas.paste(source.resize((PIECE, PIECE), Image.Resampling.LANCZOS, box=(x, y, x + cut, y + cut)), (left, top))
    canvas.save(target, quality=90)


def coding(photo: Path, model: str | None, tokens: int | None, runs: int) -> dict[str, Any]:
    """Seconds in this process, after one run of each that does not count; at half of all tokens unless `tokens` says otherwise."""
    from vtok.codec import Rate, decode_file, encode_pictures
    from vtok.data.pictures import read_picture
    from vtok.weights import load

    tokenizer, pixels = load(model), read_picture(photo)
    equal = Rate(tokens=tokens or tokenizer.spec.round_down(max(1, tokenizer.spec.max_tokens // 2)))
    equal_file = encode_pictures([pixels], tokenizer, equal)[0]
    per_tile = Rate(num_bytes=equal_file.num_bytes)
    per_tile_file = encode_pictures([pixels], tokenizer, per_tile)[0]
    seconds = turn_about(
        {
            "encode": lambda: encode_pictures([pixels], tokenizer, equal),
            "encode_per_tile": lambda: encode_pictures([pixels], tokenizer, per_tile),
            "decode": lambda: decode_file(equal_file, tokenizer),
            "decode_per_tile": lambda: decode_file(per_tile_file, tokenizer),
        },
        runs,
    )
    return {
        "model": model_facts(tokenizer, model),
        "size": pixels.shape[:2],
        "tokens": equal.tokens,
        "bytes": {"equal": equal_file.num_bytes, "per_tile": per_tile_file.num_bytes},
        **{name: spread(values) for name, values in seconds.items()},
        "per_tile_to_equal": {way: round(median(seconds[f"{way}_per_tile"]) / median(seconds[way]), 3) for way in ("encode", "decode")},
    }


def turn_about(actions: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Seconds of each action, `runs` times, in turns, so that a slow moment of the machine meets all alike; a first turn is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(runs + 1):
        for name, action in actions.items():
            started = time.perf_counter()
            action()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def _measured(command: Sequence[str | Path], model: str | None, runs: int) -> dict[str, Any]:
    line = [sys.executable, "-m", "vtok", *map(str, command), "--quiet", *(["--model", model] if model else [])]
    sys.stderr.write(f"{runs} x vtok {shlex.join(line[3:])}\n")
    return summary([run(line) for _ in range(runs)])


def main() -> None:
    """Parse options, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a name, a model folder or a hub id; the default weights when left out")
    parser.add_argument("--photo", type=Path, default=PHOTO)
    parser.add_argument("--tokens", type=int, help="tokens a tile of what is compared in one process; default: half of all")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--large", type=int, nargs="?", const=8000, metavar="SIDE", help="also a picture of so many pixels a side: 8000")
    parser.add_argument("-o", "--output", type=Path, help="write the result here too")
    options = parser.parse_args()
    figures: dict[str, Any] = {"photo": options.photo.name, "processes": processes(options.photo, options.model, options.runs)}
    if options.large:
        figures["large"] = large(options.photo, options.model, options.large)
    figures["rss_floor_mb"] = round(own_peak_rss_mb())
    figures["coding"] = coding(options.photo, options.model, options.tokens, options.runs)
    report(head("speed") | figures, options.output)


if __name__ == "__main__":
    main()
