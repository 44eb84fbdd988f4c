"""Optional chunks between header and payload (SPEC.md, section 5): today one kind, the caption."""

import zlib

from vtok.codec.cursor import Cursor, varint
from vtok.codec.limits import MAX_CAPTION_BYTES, MAX_CHUNK_BYTES, MAX_CHUNKS
from vtok.errors import UnsupportedError

_END = 0
_CAPTION = 1
_FIRST_CRITICAL = 128  # a reader that does not know such a chunk must not read on
_CRC_BYTES = 4


def write_chunks(caption: str) -> bytes:
    """The chunks of a file with this caption.

    Raises:
        UnsupportedError: a caption that is too long, or holds half of a surrogate pair.
    """
    try:
        data = caption.encode()
    except UnicodeEncodeError as error:
        raise UnsupportedError(f"the caption is not valid Unicode at character {error.start}: write it anew") from None
    if len(data) > MAX_CAPTION_BYTES:
        raise UnsupportedError(f"the caption takes {len(data)} bytes in UTF-8, a file holds at most {MAX_CAPTION_BYTES}: shorten it")
    chunk = bytes([_CAPTION]) + varint(len(data)) + data
    return chunk + zlib.crc32(chunk).to_bytes(_CRC_BYTES, "little") + bytes([_END])


def read_chunks(cursor: Cursor) -> str | None:
    """Read all chunks and return the caption, None when there is none; unknown ones below type 128 are skipped.

    Raises:
        FormatError: a chunk that is cut, damaged, too large, repeated, or of an unknown type from 128.
    """
    caption: str | None = None
    begin = cursor.position
    for _ in range(MAX_CHUNKS):
        start = cursor.position
        kind = cursor.byte("chunk type")
        if kind == _END:
            return caption
        room = MAX_CHUNK_BYTES - (cursor.position - begin)
        data = cursor.take(cursor.varint("chunk size", 0, room), f"chunk of type {kind}")
        if zlib.crc32(cursor.data[start : cursor.position]) != cursor.number(_CRC_BYTES, "chunk checksum"):
            raise cursor.error(f"damaged: the checksum of the chunk of type {kind} is wrong")
        if kind >= _FIRST_CRITICAL:
            raise cursor.error(f"holds a chunk of type {kind}, which needs a newer reader: update vtok")
        if kind == _CAPTION:
            caption = _caption(cursor, data, again=caption is not None)
    if cursor.byte("end of the chunks") != _END:
        raise cursor.error(f"damaged or not supported: more than {MAX_CHUNKS} chunks")
    return caption


def _caption(cursor: Cursor, data: bytes, *, again: bool) -> str:
    if again or len(data) > MAX_CAPTION_BYTES:
        raise cursor.error(f"damaged: {'two captions' if again else f'a caption of {len(data)} bytes, allowed are {MAX_CAPTION_BYTES}'}")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise cursor.error("damaged: the caption is not UTF-8") from None
