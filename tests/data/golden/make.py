"""Writes the golden files of this folder: `python tests/data/golden/make.py`. Files of a released version are never made anew.

Each NAME.json says what NAME.vtok holds; `writes` is false where a writer makes other bytes (cut files, chunks that are skipped).
"""

import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from vtok.codec import TokenFile
from vtok.codec.cursor import varint
from vtok.codec.truncate import truncate
from vtok.tokenizers.spec import TokenSpec

HERE = Path(__file__).parent
PHOTO = TokenSpec((4096,), 128, tuple(range(1, 129)), (64, 64), (64, 64))
FIXED = TokenSpec((4096,), 32, (32,), (256, 256), (256, 256))
SCALES = TokenSpec((1000, 16384), 9, (1, 4, 9), (32, 48), (64, 96))


def ids(num_tiles: int, num_tokens: int, sizes: tuple[int, ...]) -> np.ndarray:
    """Ids (tiles, tokens, codebooks) without rhyme, the same for ever."""
    numbers = np.arange(1, num_tiles * num_tokens * len(sizes) + 1) * 2654435761 % 2**32 >> 3
    return numbers.reshape(num_tiles, num_tokens, len(sizes)) % np.array(sizes)


def token_file(
    spec: TokenSpec, size: tuple[int, int], lengths: list[int], *, whole: bool = False, caption: str | None = None, overlap: int = 0
) -> TokenFile:
    """A file with these lengths."""
    table = ids(len(lengths), max(lengths), spec.codebook_sizes)
    table[np.arange(max(lengths)) >= np.array(lengths)[:, None]] = 0
    return TokenFile(spec, bytes.fromhex("0123abcd"), size, whole, np.array(lengths), table, caption, overlap)


def with_unknown_chunk(file: TokenFile) -> bytes:
    """The bytes of a file with a caption, and before it a chunk of type 77."""
    data = file.to_bytes()
    start = file.num_bytes - file.header.payload_size - len(file.header.chunks)
    chunk = bytes([77]) + varint(3) + b"new"
    return data[:start] + chunk + zlib.crc32(chunk).to_bytes(4, "little") + data[start:]


def describe(data: bytes, *, writes: bool) -> dict[str, object]:
    """What a reader must find."""
    file = TokenFile.from_bytes(data)
    strings = [row[:n].tolist() for row, n in zip(file.ids, file.lengths.tolist(), strict=True)]
    spec = {name: value for name, value in file.spec.to_json().items() if name not in ("grid", "scales")}
    named: dict[str, object] = {
        "digest": file.digest.hex(),
        "size": file.size,
        "whole": file.whole,
        "caption": file.caption,
        "cut": file.cut,
    }
    if file.overlap:  # files of version 1 were described before there was one
        named["overlap"] = file.overlap
    return {"writes": writes, "spec": spec, **named, "lengths": file.lengths.tolist(), "ids": strings}


def main() -> None:
    """Write all files."""
    varied = token_file(PHOTO, (150, 300), [9, 3, 3, 1, 12, 40, 12, 12, 9, 3, 1, 1, 1, 2, 128])
    captioned = token_file(PHOTO, (4000, 6000), [7], whole=True, caption="Ein Hund läuft über die Wiese 🐕")
    scales = token_file(SCALES, (60, 90), [4, 9, 1, 4])
    files = {
        "one_tile": (token_file(PHOTO, (64, 64), [5]).to_bytes(), True),
        "whole_with_caption": (captioned.to_bytes(), True),
        "fixed_length": (token_file(FIXED, (256, 256), [32]).to_bytes(), True),
        "tiles_of_one_length": (token_file(PHOTO, (67, 143), [2] * 6).to_bytes(), True),
        "tiles_of_many_lengths": (varied.to_bytes(), True),
        "truncated": (truncate(varied, tokens=9).to_bytes(), True),
        "cut": (varied.to_bytes()[:-180], False),
        "two_codebooks": (scales.to_bytes(), True),
        "two_codebooks_cut": (scales.to_bytes()[:-12], False),
        "one_pixel": (token_file(replace(PHOTO, max_tokens=1, prefix_lengths=(1,)), (1, 1), [1]).to_bytes(), True),
        "unknown_chunk": (with_unknown_chunk(captioned), False),
        "overlapping": (token_file(FIXED, (481, 700), [32] * 9, overlap=32).to_bytes(), True),
        "overlapping_two_codebooks": (token_file(SCALES, (54, 133), [4, 9, 1, 4, 9, 9, 1, 1], caption="🐕", overlap=10).to_bytes(), True),
    }
    for name, (data, writes) in files.items():
        (HERE / f"{name}.vtok").write_bytes(data)
        text = json.dumps(describe(data, writes=writes), ensure_ascii=False, separators=(",", ":"))
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
