"""Does any byte string bring the reader of `.vtok` files down? A seeded run of mutated files and crafted headers.

    python benchmarks/fuzz_codec.py --cases 1000000 --seed 0

Prints one JSON object: cases, seconds, growth of the peak memory, slowest case, outcomes. Anything but a `FormatError` of one line or a
file that can be written and read again is a failure: it is printed in hex, and the exit code is 1.
"""

import argparse
import binascii
import json
import platform
import resource
import sys
import time
import zlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from vtok.codec import TokenFile
from vtok.codec.cursor import varint
from vtok.errors import FormatError
from vtok.tokenizers.spec import TokenSpec

SPECS = (
    TokenSpec((4096,), 128, tuple(range(1, 129)), (64, 64), (64, 64)),
    TokenSpec((4096,), 32, (32,), (256, 256), (256, 256)),
    TokenSpec((1000, 16384), 9, (1, 4, 9), (32, 48), (64, 96)),
    TokenSpec((2,), 1000, tuple(range(1, 1001)), (4, 4), (4, 4)),
    TokenSpec((64000,), 256, (1, 2, 4, 8, 16, 32, 64, 128, 256), (256, 256), (256, 256)),
)
NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 1000, 4095, 65535, 65536, 100_000, 2**28, 2**31 - 2, 2**31, 2**35 - 1)
SHOWN = 5


@dataclass(frozen=True)
class Seed:
    """A good file, and where its parts begin, so that changed ones can be given right checksums."""

    data: bytes
    lengths: int
    checksums: int
    chunks: int
    payload: int


def make_seed(rng: np.random.Generator) -> Seed:
    """A small file of a random kind."""
    spec = SPECS[rng.integers(len(SPECS))]
    whole = bool(rng.integers(4) == 0)
    rows, cols = (1, 1) if whole else rng.integers(1, 6, 2).tolist()
    ladder = rng.choice(spec.prefix_lengths, rng.integers(1, 5))
    lengths = rng.choice(ladder, rows * cols).astype(np.int64)
    ids = rng.integers(0, spec.codebook_sizes, (len(lengths), int(lengths.max()), len(spec.codebook_sizes)))
    caption = "a dog" if rng.integers(4) == 0 else None
    overlap = 0 if rows * cols == 1 else int(rng.integers(min(spec.input_size) // 2 + 1)) * int(rng.integers(2))
    height, width = (int(count * (side - overlap) + overlap) for count, side in zip((rows, cols), spec.input_size, strict=True))
    file = TokenFile(spec, rng.bytes(4), (height, width), whole, lengths, ids, caption, overlap)
    data = file.to_bytes()
    payload = len(data) - file.header.payload_size
    chunks = payload - len(file.header.chunks)
    stored = int.from_bytes(data[chunks - 6 : chunks - 2], "little")
    begin = next(at for at in range(9, chunks) if zlib.crc32(data[payload:], zlib.crc32(data[at : chunks - 6])) == stored)
    return Seed(data, begin, chunks - 6, chunks, payload)


def seal(start: bytes, lengths: bytes, chunks: bytes, payload: bytes) -> bytes:
    """A file of these parts, with right checksums."""
    covered = start + lengths + zlib.crc32(payload, zlib.crc32(lengths)).to_bytes(4, "little")
    return covered + binascii.crc_hqx(covered, 0xFFFF).to_bytes(2, "little") + chunks + payload


def flip(rng: np.random.Generator, data: bytes) -> bytes:
    """One to eight bytes changed, many of them by one bit."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9) if data else 0):
        at = rng.integers(len(changed))
        changed[at] ^= 1 << int(rng.integers(8)) if rng.integers(2) else int(rng.integers(1, 256))
    return bytes(changed)


def cut(rng: np.random.Generator, data: bytes) -> bytes:
    """A start, or a part taken out."""
    at, end = sorted(rng.integers(0, len(data) + 1, 2).tolist())
    return data[:at] if rng.integers(2) else data[:at] + data[end:]


def insert(rng: np.random.Generator, data: bytes) -> bytes:
    """Random bytes, a varint, or a part of the file itself put in."""
    at, start, end = rng.integers(0, len(data) + 1, 3).tolist()
    more = (rng.bytes(int(rng.integers(1, 20))), varint(NUMBERS[rng.integers(len(NUMBERS))]), data[start:end])[rng.integers(3)]
    return data[:at] + more + data[at:]


MUTATIONS = (flip, cut, insert)


def mutate(rng: np.random.Generator, seed: Seed) -> bytes:
    """Change the file as it lies."""
    data = seed.data
    for _ in range(rng.integers(1, 4)):
        data = MUTATIONS[rng.integers(3)](rng, data)
    return data


def mutate_sealed(rng: np.random.Generator, seed: Seed) -> bytes:
    """Change some parts of the file and make its checksums right, so that the reader comes to what lies behind them."""
    data = seed.data
    parts = [data[: seed.lengths], data[seed.lengths : seed.checksums], data[seed.chunks : seed.payload], data[seed.payload :]]
    for _ in range(rng.integers(1, 4)):
        index = int(rng.integers(4))
        parts[index] = MUTATIONS[rng.integers(3)](rng, parts[index])
    return seal(*parts)


def craft(rng: np.random.Generator) -> bytes:
    """A header of numbers at the edges of what is allowed, with right checksums and a short payload."""

    def number(*usual: int) -> bytes:
        allowed = usual if usual and rng.integers(3) else NUMBERS
        return varint(allowed[rng.integers(len(allowed))])

    flags = int(rng.integers(16)) if rng.integers(8) else int(rng.integers(256))
    version = 1 + int(rng.integers(2))
    start = b"\x89VT" + bytes([version, flags]) + rng.bytes(4) + number(1, 64, 2048, 65535) + number(1, 64, 2048, 1525)
    if flags & 8:
        start += b"".join(number(4, 8, 64) for _ in range(4)) + number(1, 2) + b"".join(number(0, 14, 4094) for _ in range(2))
        start += number(0, 7, 255, 65535) + number(0, 0, 2) + (number(1, 4) if rng.integers(2) else b"")
    else:
        start += rng.bytes(3) if rng.integers(2) else bytes([15, 12, 127])
    start += number(1, 2, 4, 32) if version == 2 else b""
    lengths = number(0, 7, 127)
    if flags & 2:
        coded = rng.bytes(int(rng.integers(1, 40)))
        lengths = number(1, 2, 3) + number(0, 1) + bytes([int(rng.integers(4)) * 16 + int(rng.integers(4))])
        lengths += (varint(len(coded)) if rng.integers(4) else number()) + coded
    chunks = rng.bytes(int(rng.integers(1, 9))) if flags & 4 else b""
    return seal(start, lengths, chunks, rng.bytes(int(rng.integers(0, 3000))))


def outcome_of(data: bytes) -> str:
    """What the reader makes of these bytes: a kind of file or of error."""
    try:
        file = TokenFile.from_bytes(data, name="case")
    except FormatError as error:
        message = str(error)
        if not message.startswith("case: ") or "\n" in message:
            raise RuntimeError(f"not one line about the file: {message!r}") from error
        return " ".join(message.removeprefix("case: ").split(":")[0].split()[:3])
    again = TokenFile.from_bytes(file.to_bytes())
    if again.cut or not (again.ids.shape == file.ids.shape and (again.lengths == file.lengths).all()):
        raise RuntimeError("the file reads otherwise after it was written again")
    return "a cut file" if file.cut else "a file"


def run(cases: int, seed: int) -> dict[str, object]:
    """All cases, counted."""
    rng = np.random.default_rng(seed)
    seeds = [make_seed(rng) for _ in range(64)]
    for good in seeds:
        outcome_of(good.data)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    outcomes: Counter[str] = Counter()
    failures: list[dict[str, str]] = []
    slowest = 0.0
    for _ in range(cases):
        good = seeds[rng.integers(len(seeds))]
        kind = rng.integers(3)
        data = craft(rng) if kind == 2 else (mutate, mutate_sealed)[kind](rng, good)
        begun = time.perf_counter()
        try:
            outcomes[outcome_of(data)] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what this program looks for
            outcomes["FAILURE"] += 1
            failures.append({"error": repr(error), "data": data.hex()})
        slowest = max(slowest, time.perf_counter() - begun)
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "cases": cases,
        "seed": seed,
        "seconds": round(time.perf_counter() - started, 1),
        "slowest_case_ms": round(1e3 * slowest, 1),
        "peak_memory_growth_mb": round(growth / (1e6 if sys.platform == "darwin" else 1e3), 1),
        "outcomes": dict(outcomes.most_common()),
        "failures": failures[:SHOWN],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }


def main() -> None:
    """Parse options, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = run(options.cases, options.seed)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    raise SystemExit(1 if result["failures"] else 0)


if __name__ == "__main__":
    main()
