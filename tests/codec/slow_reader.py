"""A second reader, written from SPEC.md alone: bit by bit, without numpy and without checks. Only for files that are in order."""

import math
from itertools import accumulate
from typing import Any


def read_slowly(data: bytes) -> dict[str, Any]:
    """Fields of a file: width, height, whole, spec, overlap, lengths, strings (tile, token, codebook), caption, digest."""
    place = _Place(data, 4)
    flags = place.byte()
    digest = place.take(4)
    width, height = place.varint(), place.varint()
    spec = _general(place) if flags & 8 else _compact(place)
    overlap = place.varint() if data[3] == 2 else 0
    rows, cols = (1, 1) if flags & 1 else (_count(height, spec["tile"][0], overlap), _count(width, spec["tile"][1], overlap))
    lengths = _lengths(place, rows, cols) if flags & 2 else [1 + (place.varint() if flags & 8 else place.byte())] * (rows * cols)
    place.take(6)
    caption = _caption(place) if flags & 4 else None
    strings = _strings(place.data[place.at :], lengths, spec)
    known = {"digest": digest, "size": (height, width), "whole": bool(flags & 1), "overlap": overlap}
    return {**known, **strings, "caption": caption, "spec": spec}


class _Place:
    def __init__(self, data: bytes, at: int):
        self.data, self.at = data, at

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        byte = self.byte()
        return byte if byte < 128 else byte - 128 + 128 * self.varint()


def _count(side: int, tile_side: int, overlap: int) -> int:
    return max(1, math.ceil((side - overlap) / (tile_side - overlap)))


def _bits(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


def _compact(place: _Place) -> dict[str, Any]:
    side, kind, longest = 4 * (place.byte() + 1), place.byte(), place.byte() + 1
    prefixes = [longest] if kind & 32 else list(range(1, longest + 1))
    return {"tile": (side, side), "output": (side, side), "sizes": [2 ** (kind & 31)], "prefixes": prefixes}


def _general(place: _Place) -> dict[str, Any]:
    tile, output = (place.varint(), place.varint()), (place.varint(), place.varint())
    sizes = [place.varint() + 2 for _ in range(place.varint())]
    longest = place.varint() + 1
    prefixes = list(accumulate(place.varint() for _ in range(place.varint())))
    return {"tile": tile, "output": output, "sizes": sizes, "prefixes": prefixes or list(range(1, longest + 1))}


def _lengths(place: _Place, rows: int, cols: int) -> list[int]:
    num_lengths, first, rice = place.varint(), place.varint() + 1, place.byte()
    bits = _bits(place.take(place.varint()))
    at, quotients = 0, []
    for _ in range(num_lengths - 1 + rows * cols):
        end = bits.index("1", at)
        quotients.append(end - at)
        at = end + 1
    numbers = []
    for index, quotient in enumerate(quotients):
        width = rice >> 4 if index < num_lengths - 1 else rice & 15
        numbers.append(quotient << width | int("0" + bits[at : at + width], 2))
        at += width
    ladder = list(accumulate([first, *(step + 1 for step in numbers[: num_lengths - 1])]))
    places: list[int] = []
    for tile, number in enumerate(numbers[num_lengths - 1 :]):
        change = number // 2 if number % 2 == 0 else -(number + 1) // 2
        before = places[tile - 1] if tile % cols else places[tile - cols] if tile else 0
        places.append(before + change)
    return [ladder[p] for p in places]


def _caption(place: _Place) -> str | None:
    caption = None
    while kind := place.byte():
        data = place.take(place.varint())
        place.take(4)
        caption = data.decode() if kind == 1 else caption
    return caption


def _strings(payload: bytes, lengths: list[int], spec: dict[str, Any]) -> dict[str, Any]:
    widths = [math.ceil(math.log2(size)) for size in spec["sizes"]]
    bits, at = _bits(payload), 0
    strings: list[list[list[int]]] = [[] for _ in lengths]
    for layer in range(max(lengths)):
        for tile, length in enumerate(lengths):
            if layer < length and at + sum(widths) <= len(bits):
                token = []
                for width in widths:
                    token.append(int(bits[at : at + width], 2))
                    at += width
                strings[tile].append(token)
    kept = [max((n for n in spec["prefixes"] if n <= len(string)), default=0) for string in strings]
    return {"lengths": kept, "strings": [string[:n] for string, n in zip(strings, kept, strict=True)]}
