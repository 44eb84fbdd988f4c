"""A `.vtok` file: spec, lengths and ids of one picture, to bytes and back (SPEC.md)."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vtok.codec.cursor import Cursor
from vtok.codec.header import MAGIC, Checksum, Header, read_header
from vtok.codec.layers import Ids, Lengths, cut_lengths, from_layers, to_layers, too_uneven, trim
from vtok.codec.packing import pack, unpack
from vtok.errors import FormatError, UnsupportedError
from vtok.tokenizers.spec import TokenSpec


@dataclass(frozen=True, eq=False)
class TokenFile:
    """The tokens of one picture and what it takes to decode them.

    Args:
        spec: of the strings; the file does not keep `grid` and `scales`, which become None.
        digest: first 4 bytes of the model's code digest.
        size: height, width of the upright source picture in pixels.
        whole: one string for the whole picture, resized to the tile, instead of one for each tile.
        lengths: (tiles,) int64, in raster order; each one of `spec.prefix_lengths`.
        ids: (tiles, longest, K) int64; ids beyond a length mean nothing and are not stored.
        caption: text for decoders that take one.
        overlap: pixels of the source by which neighbouring tiles overlap, at most half a tile's side; 0 for a picture of one tile.
        cut: the bytes it was read from ended early; lengths and ids are those of the whole tokens left.

    Raises:
        PictureError: a picture larger than the format allows.
        UnsupportedError: a spec, caption or set of lengths that the format does not hold.
        ValueError: shapes, types or ranges that contradict each other.
    """

    spec: TokenSpec
    digest: bytes
    size: tuple[int, int]
    whole: bool
    lengths: Lengths
    ids: Ids
    caption: str | None = None
    overlap: int = 0
    cut: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "spec", self.header.spec)
        if too_uneven(self.lengths, len(self.spec.codebook_sizes)):
            raise UnsupportedError("a .vtok file cannot hold lengths as uneven as these: give all tiles one number of tokens")
        shape = (len(self.lengths), int(self.lengths.max()), len(self.spec.codebook_sizes))
        if self.ids.shape != shape or self.ids.dtype != np.int64:
            raise ValueError(f"ids must be {shape} int64, got {self.ids.shape} {self.ids.dtype}")
        if self.ids.min() < 0 or (self.ids.max(axis=(0, 1)) >= self.spec.codebook_sizes).any():
            raise ValueError(f"ids must lie in codebooks of {self.spec.codebook_sizes} codes")

    @cached_property
    def header(self) -> Header:
        """All but the ids."""
        return Header(self.spec, self.digest, self.size, self.whole, self.lengths, self.caption, self.overlap)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows, columns of tiles."""
        return self.header.grid

    @property
    def num_bytes(self) -> int:
        """Length of `to_bytes`."""
        return self.header.size_bytes() + self.header.payload_size

    def to_bytes(self) -> bytes:
        """The file: header, chunks, packed ids."""
        payload = pack(to_layers(self.ids, self.lengths), self.header.widths)
        return self.header.to_bytes(payload) + payload

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, *, name: str = "the data") -> "TokenFile":
        """Read a file from its bytes; `name` is what messages call them.

        Bytes that end early inside the payload give the whole tokens left, each tile rounded down to a length that decodes.

        Raises:
            FormatError: anything that is not such a file; no other exception for any bytes.
            TypeError: no bytes, such as a path.
        """
        cursor = Cursor(bytes(memoryview(data)), name)
        header, checksum = read_header(cursor)
        if cursor.left > header.payload_size:
            raise cursor.error(f"damaged: {cursor.left - header.payload_size} bytes more than the header says")
        if cursor.left < header.payload_size:
            lengths, ids = _read_cut(header, cursor)
            return cls(header.spec, header.digest, header.size, header.whole, lengths, ids, header.caption, header.overlap, cut=True)
        ids = _read_whole(header, cursor, checksum)
        return cls(header.spec, header.digest, header.size, header.whole, header.lengths, ids, header.caption, header.overlap)


def file_size(spec: TokenSpec, size: tuple[int, int], whole: bool, lengths: Lengths, caption: str | None = None, overlap: int = 0) -> int:
    """Bytes of the file that has these lengths (tiles,), without packing.

    Raises:
        As `TokenFile`.
    """
    header = Header(spec, bytes(4), size, whole, lengths, caption, overlap)
    return header.size_bytes() + header.payload_size


def read(path: str | Path) -> TokenFile:
    """Read a `.vtok` file.

    Raises:
        FormatError: it cannot be read, or is not such a file.
    """
    return TokenFile.from_bytes(read_bytes(path), name=str(path))


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file that begins as a `.vtok` file does; only the first few of any other.

    Raises:
        FormatError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(len(MAGIC))
            if data == MAGIC:  # a large file of another kind is refused unread
                data += file.read()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from None
    return data


def write(path: str | Path, file: TokenFile) -> int:
    """Write a `.vtok` file, all of it or nothing; returns its size in bytes.

    Raises:
        OutputError: the place cannot be written.
    """
    from vtok.data.atomic import write_bytes

    data = file.to_bytes()
    write_bytes(Path(path), data)
    return len(data)


def _read_whole(header: Header, cursor: Cursor, checksum: Checksum) -> Ids:
    payload = cursor.take(header.payload_size, "payload")
    if not checksum.fits(payload):
        raise cursor.error("damaged: the checksum of the tokens is wrong")
    unused = 8 * len(payload) - int(header.lengths.sum()) * header.spec.stored_bits
    if payload[-1] & (1 << unused) - 1:
        raise cursor.error("damaged: bits behind the last token are set")
    return _read_ids(header, payload, header.lengths, cursor)


def _read_cut(header: Header, cursor: Cursor) -> tuple[Lengths, Ids]:
    """Lengths and ids of the whole tokens left."""
    bits = header.spec.stored_bits
    stored = cut_lengths(header.lengths, 8 * cursor.left // bits)
    decodable = np.array([0, *header.spec.prefix_lengths])
    lengths = decodable[np.searchsorted(decodable, stored, side="right") - 1]
    if not lengths.all():
        raise cursor.error(f"cut too early: the {cursor.left} bytes of tokens left do not give every tile one that decodes")
    ids = _read_ids(header, cursor.take(cursor.left, "payload"), stored, cursor)
    return lengths, trim(ids, lengths)


def _read_ids(header: Header, payload: bytes, lengths: Lengths, cursor: Cursor) -> Ids:
    if too_uneven(lengths, len(header.widths)):
        raise cursor.error("damaged or not supported: the lengths of the tiles are too uneven")
    tokens = unpack(payload, int(lengths.sum()), header.widths)
    beyond = tokens >= header.spec.codebook_sizes
    if beyond.any():
        row, column = np.argwhere(beyond)[0]
        size = header.spec.codebook_sizes[column]
        raise cursor.error(f"damaged: token {row} of the payload has id {tokens[row, column]}, its codebook has {size} codes")
    return from_layers(tokens, lengths)
