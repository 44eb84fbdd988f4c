"""The header of a `.vtok` file (SPEC.md, section 2): everything but the ids."""

import binascii
import zlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vtok.codec.chunks import read_chunks, write_chunks
from vtok.codec.cursor import Cursor, varint
from vtok.codec.layers import Lengths
from vtok.codec.lengths import lengths_size, read_lengths, write_lengths
from vtok.codec.limits import MAX_PIXELS, MAX_SIDE, MAX_TILES
from vtok.codec.spec_fields import check_spec, is_compact, read_compact, read_general, write_compact, write_general
from vtok.errors import FormatError, PictureError
from vtok.tokenizers.spec import LatentSpec, TokenSpec

MAGIC = b"\x89VT"
_APART, _OVERLAPPING = 1, 2  # format versions: tiles that lie side by side, tiles that overlap
_WHOLE, _PER_TILE, _CHUNKS, _GENERAL = 1, 2, 4, 8
_CODER_SHIFT = 4
_DIGEST_BYTES = 4
_CHECKSUM_BYTES = 4 + 2


def grid_of(spec: TokenSpec | LatentSpec, size: tuple[int, int], *, whole: bool, overlap: int) -> tuple[int, int]:
    """Rows and columns of tiles that cover a picture of height, width, neighbours overlapping; (1, 1) when it was resized to one tile."""
    if whole:
        return 1, 1
    rows, cols = (max(1, -(-(picture - overlap) // (side - overlap))) for picture, side in zip(size, spec.input_size, strict=True))
    return rows, cols


def max_overlap(spec: TokenSpec) -> int:
    """Most pixels by which neighbouring tiles overlap: half the smaller side."""
    return min(spec.input_size) // 2


def covered_size(spec: TokenSpec | LatentSpec, grid: tuple[int, int], overlap: int) -> tuple[int, int]:
    """Height, width in source pixels of rows, columns of tiles."""
    height, width = (count * (side - overlap) + overlap for count, side in zip(grid, spec.input_size, strict=True))
    return height, width


def check_picture(spec: TokenSpec | LatentSpec, size: tuple[int, int], *, whole: bool, overlap: int) -> None:
    """Raise `PictureError` for a picture of height, width that is larger than the format allows."""
    if problem := _picture_problem(spec, size, whole=whole, overlap=overlap):
        raise PictureError(f"a .vtok file cannot hold this picture: {problem}; scale it down first")


@dataclass(frozen=True, eq=False)
class Header:
    """What the header says: all of `container.TokenFile` but the ids, under the same names.

    Raises:
        PictureError: a picture larger than the format allows.
        UnsupportedError: a spec or caption that the format does not hold.
        ValueError: a digest, lengths or an overlap of another shape, type or range.
    """

    spec: TokenSpec
    digest: bytes
    size: tuple[int, int]
    whole: bool
    lengths: Lengths
    caption: str | None = None
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.spec.grid or self.spec.scales:
            object.__setattr__(self, "spec", replace(self.spec, grid=None, scales=None))
        check_spec(self.spec)
        if not 0 <= self.overlap <= max_overlap(self.spec):
            raise ValueError(f"overlap must be 0 to {max_overlap(self.spec)}, half a tile, got {self.overlap}")
        check_picture(self.spec, self.size, whole=self.whole, overlap=self.overlap)
        rows, cols = self.grid
        if self.overlap and rows * cols == 1:
            raise ValueError(f"overlap must be 0 for a picture of one tile, got {self.overlap}")
        if len(self.digest) != _DIGEST_BYTES:
            raise ValueError(f"digest must be {_DIGEST_BYTES} bytes, got {len(self.digest)}")
        if self.lengths.shape != (rows * cols,) or self.lengths.dtype != np.int64:
            raise ValueError(f"lengths must be ({rows * cols},) int64, got {self.lengths.shape} {self.lengths.dtype}")
        if not np.isin(self.lengths, self.spec.prefix_lengths).all():
            raise ValueError("lengths must be among the spec's prefix lengths")

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Rows, columns of tiles."""
        return grid_of(self.spec, self.size, whole=self.whole, overlap=self.overlap)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Bits of each sub-token."""
        return tuple((size - 1).bit_length() for size in self.spec.codebook_sizes)

    @property
    def payload_size(self) -> int:
        """Bytes of the packed ids."""
        return (int(self.lengths.sum()) * self.spec.stored_bits + 7) // 8

    def to_bytes(self, payload: bytes) -> bytes:
        """The header of this payload, and the chunks behind it."""
        lengths = write_lengths(self.lengths, self.grid) if self._flags & _PER_TILE else self._single_length()
        covered = self._start() + lengths + zlib.crc32(payload, zlib.crc32(lengths)).to_bytes(4, "little")
        return covered + binascii.crc_hqx(covered, 0xFFFF).to_bytes(2, "little") + self.chunks

    def size_bytes(self) -> int:
        """Length of `to_bytes`, without coding the lengths."""
        lengths = lengths_size(self.lengths, self.grid) if self._flags & _PER_TILE else len(self._single_length())
        return len(self._start()) + lengths + _CHECKSUM_BYTES + len(self.chunks)

    @cached_property
    def _flags(self) -> int:
        per_tile = bool((self.lengths != self.lengths[0]).any())
        chunks = self.caption is not None
        return _WHOLE * self.whole | _PER_TILE * per_tile | _CHUNKS * chunks | _GENERAL * (not is_compact(self.spec))

    def _start(self) -> bytes:
        height, width = self.size
        spec = write_general(self.spec) if self._flags & _GENERAL else write_compact(self.spec)
        version, overlap = (_OVERLAPPING, varint(self.overlap)) if self.overlap else (_APART, b"")
        return MAGIC + bytes([version, self._flags]) + self.digest + varint(width) + varint(height) + spec + overlap

    def _single_length(self) -> bytes:
        length = int(self.lengths[0]) - 1
        return varint(length) if self._flags & _GENERAL else bytes([length])

    @cached_property
    def chunks(self) -> bytes:
        """The chunks behind the header."""
        return b"" if self.caption is None else write_chunks(self.caption)


@dataclass(frozen=True)
class Checksum:
    """CRC-32 over the length fields and the payload, as stored; `begun` is that of the length fields alone."""

    stored: int
    begun: int

    def fits(self, payload: bytes) -> bool:
        """Whether this is the payload it was made of."""
        return zlib.crc32(payload, self.begun) == self.stored


def read_header(cursor: Cursor) -> tuple[Header, Checksum]:
    """Read the header and the chunks behind it.

    Raises:
        FormatError: not a `.vtok` file, of a newer version, cut, damaged, or larger than allowed.
    """
    version, flags = _read_kind(cursor)
    digest = cursor.take(_DIGEST_BYTES, "model digest")
    width, height = (cursor.varint(f"picture {side} in pixels", 1, MAX_SIDE) for side in ("width", "height"))
    spec = read_general(cursor) if flags & _GENERAL else read_compact(cursor)
    overlap = cursor.varint("overlap of tiles in pixels", 1, max_overlap(spec)) if version == _OVERLAPPING else 0
    whole = bool(flags & _WHOLE)
    if problem := _picture_problem(spec, (height, width), whole=whole, overlap=overlap):
        raise cursor.error(f"damaged or not supported: {problem}")
    rows, cols = grid_of(spec, (height, width), whole=whole, overlap=overlap)
    if overlap and rows * cols == 1:
        raise cursor.error(f"damaged: one tile, and an overlap of {overlap} pixels with others")
    begin = cursor.position
    stored = read_lengths(cursor, rows * cols, spec.prefix_lengths) if flags & _PER_TILE else _read_single_length(cursor, spec, flags)
    begun = zlib.crc32(cursor.data[begin : cursor.position])
    checksum = Checksum(cursor.number(4, "payload checksum"), begun)
    covered = cursor.data[: cursor.position]
    if binascii.crc_hqx(covered, 0xFFFF) != cursor.number(2, "header checksum"):
        raise cursor.error("damaged: the checksum of the header is wrong")
    if isinstance(stored, int):
        lengths = np.full(rows * cols, stored, np.int64)
    else:
        lengths = stored.decode(cursor, (rows, cols), spec.prefix_lengths)
    caption = read_chunks(cursor) if flags & _CHUNKS else None
    return Header(spec, digest, (height, width), whole, lengths, caption, overlap), checksum


def _read_kind(cursor: Cursor) -> tuple[int, int]:
    """Version and flags."""
    if (found := cursor.data[: len(MAGIC)]) != MAGIC:
        raise FormatError(f"{cursor.name}: not a .vtok file: it starts with {found!r}, not {MAGIC!r}")
    cursor.take(len(MAGIC), "magic")
    if (version := cursor.byte("version")) not in (_APART, _OVERLAPPING):
        known = f"{_APART} and {_OVERLAPPING}"
        raise cursor.error(f"has format version {version}, this vtok reads versions {known}: update vtok, or check that the file is whole")
    flags = cursor.byte("flags")
    if coder := flags >> _CODER_SHIFT:
        raise cursor.error(f"uses entropy coder {coder}, this vtok knows only 0 (raw packing): update vtok")
    return version, flags


def _read_single_length(cursor: Cursor, spec: TokenSpec, flags: int) -> int:
    length = 1 + (cursor.varint("length less one", 0, spec.max_tokens - 1) if flags & _GENERAL else cursor.byte("length less one"))
    if length not in spec.prefix_lengths:
        raise cursor.error(f"damaged: {length} tokens a tile do not decode")
    return length


def _picture_problem(spec: TokenSpec | LatentSpec, size: tuple[int, int], *, whole: bool, overlap: int) -> str | None:
    height, width = size
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        return f"a picture of {width} x {height} pixels; sides are 1 to {MAX_SIDE}"
    if width * height > MAX_PIXELS:
        return f"a picture of {width} x {height} pixels; at most {MAX_PIXELS // 10**6} million are allowed"
    rows, cols = grid_of(spec, size, whole=whole, overlap=overlap)
    if rows * cols > MAX_TILES:
        return f"{rows} x {cols} tiles; at most {MAX_TILES} are allowed"
    return None
