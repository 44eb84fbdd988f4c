"""Damaged and hostile bytes: always one `FormatError`, soon and in little memory."""

import binascii
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.strategies import QUICK, token_files
from vtok.codec import TokenFile
from vtok.codec.cursor import varint
from vtok.errors import FormatError
from vtok.tokenizers.spec import TokenSpec

SPEC = TokenSpec((16,), 8, tuple(range(1, 9)), (8, 8), (8, 8))
ODD = TokenSpec((10, 300), 8, (2, 5, 8), (8, 8), (8, 8))


def example(spec=SPEC, lengths=(2,), size=(8, 8), caption=None, overlap=0):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, spec.codebook_sizes, (len(lengths), max(lengths), len(spec.codebook_sizes)))
    return TokenFile(spec, b"abcd", size, False, np.array(lengths), ids, caption, overlap)


EXAMPLES = {
    "one tile": example(),
    "caption": example(caption="cat"),
    "tiles": example(lengths=(1, 5, 8, 1, 1, 2), size=(16, 24)),
    "general": example(ODD, lengths=(2, 5, 8, 2), size=(16, 16)),
    "overlap": example(lengths=(1, 5, 8, 1, 1, 2), size=(12, 18), overlap=3),
    "general with overlap": example(ODD, lengths=(2, 5, 8, 2), size=(14, 14), overlap=2),
}


def message_of(data):
    """The error of these bytes, None when they are a file."""
    try:
        TokenFile.from_bytes(data)
    except FormatError as error:
        message = str(error)
    else:
        return None
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_flipped_byte_is_an_error(name):
    data = EXAMPLES[name].to_bytes()
    flips = range(1, 256) if len(data) < 40 else (1, 2, 4, 8, 16, 32, 64, 128, 255)
    undetected = [(at, flip) for at in range(len(data)) for flip in flips if message_of(_flipped(data, at, flip)) is None]
    assert undetected == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_flips_in_a_cut_file_are_an_error_or_give_ids_in_range(name):
    data = EXAMPLES[name].to_bytes()[:-1]
    for at in range(len(data)):
        for flip in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            message_of(_flipped(data, at, flip))  # a file checks its ids when it is made


def _flipped(data, at, flip):
    return data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]


@QUICK
@given(st.binary(max_size=300))
def test_any_bytes_behind_a_good_start_are_a_file_or_an_error(data):
    message_of(b"\x89VT\x01" + data)
    message_of(b"\x89VT\x02" + data)
    message_of(data)


@QUICK
@given(token_files(), st.data())
def test_bytes_put_in_or_taken_out_are_an_error(file, data):
    good = file.to_bytes()
    at = data.draw(st.integers(0, len(good)))
    more = data.draw(st.binary(min_size=1, max_size=5))
    assert message_of(good[:at] + more + good[at:]) is not None
    message_of(good[:at] + good[at + len(more) :])


@QUICK
@given(token_files(), st.binary(min_size=1, max_size=9))
def test_a_file_with_bytes_behind_it_is_refused(file, more):
    assert f"{len(more)} bytes more than the header says" in message_of(file.to_bytes() + more)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, 0x88, r"not a .vtok file: it starts with b'\x88VT'"),
        (3, 3, "has format version 3, this vtok reads versions 1 and 2: update vtok"),
        (3, 0, "has format version 0, this vtok reads versions 1 and 2: update vtok"),
        (4, 0x30, "uses entropy coder 3, this vtok knows only 0"),
        (9, 0x09, "the checksum of the header is wrong"),
        (22, 0x00, "the checksum of the tokens is wrong"),
    ],
)
def test_the_message_says_what_is_wrong(at, value, message):
    data = bytearray(example(lengths=(4,)).to_bytes())
    data[at] = value
    assert message in message_of(bytes(data))


def test_the_name_of_the_data_is_in_the_message():
    with pytest.raises(FormatError, match=r"^photo\.vtok: "):
        TokenFile.from_bytes(b"", name="photo.vtok")


def sealed(*fields, flags=0, payload=b"", version=1):
    """A file with these bytes behind the digest and right checksums; the lengths are the last field."""
    start = b"\x89VT" + bytes([version, flags]) + b"abcd" + b"".join(fields)
    covered = start + zlib.crc32(payload, zlib.crc32(fields[-1])).to_bytes(4, "little")
    return covered + binascii.crc_hqx(covered, 0xFFFF).to_bytes(2, "little") + payload


def side(width, height):
    return varint(width) + varint(height)


SHORT = bytes([1, 4, 7])  # 8 x 8 pixels, 16 codes, 8 tokens
GENERAL = 8
LARGE = [2**16, 2**21, 2**28, 2**35 - 1]


def general(tile=(8, 8), output=(8, 8), sizes=(14,), longest=7, prefixes=(0,)):
    return b"".join(map(varint, [*tile, *output, len(sizes), *sizes, longest, *prefixes]))


ABSURD = {
    **{f"width {n}": sealed(side(n, 1), SHORT, b"\0") for n in LARGE},
    **{f"height {n}": sealed(side(1, n), SHORT, b"\0") for n in LARGE},
    "no width": sealed(side(0, 1), SHORT, b"\0"),
    "101 Mpixel": sealed(side(10100, 10000), SHORT, b"\0", flags=1),
    "65535 x 65535": sealed(side(65535, 65535), SHORT, b"\0", flags=1),
    "many tiles": sealed(side(8 * 256, 8 * 256 + 1), SHORT, b"\0"),
    "varint of six bytes": sealed(b"\xff\xff\xff\xff\xff\x01", SHORT, b"\0"),
    "long varint": sealed(b"\x88\x00\x08", SHORT, b"\0"),
    "no bits": sealed(side(8, 8), bytes([1, 0, 7]), b"\0"),
    "reserved kind": sealed(side(8, 8), bytes([1, 0x44, 7]), b"\0"),
    "length beyond the longest": sealed(side(8, 8), SHORT, b"\x08"),
    "length that does not decode": sealed(side(8, 8), bytes([1, 0x24, 7]), b"\x06"),
    **{f"tile side {n}": sealed(side(8, 8), general(tile=(n, 8)), b"\0", flags=GENERAL) for n in [0, *LARGE]},
    **{f"output side {n}": sealed(side(8, 8), general(output=(8, n)), b"\0", flags=GENERAL) for n in [0, *LARGE]},
    **{f"codes {n}": sealed(side(8, 8), general(sizes=(n,)), b"\0", flags=GENERAL) for n in [2**31 - 1, 2**35 - 1]},
    **{f"tokens {n}": sealed(side(8, 8), general(longest=n), b"\0", flags=GENERAL) for n in LARGE},
    "no codebooks": sealed(side(8, 8), general(sizes=()), b"\0", flags=GENERAL),
    "65 codebooks": sealed(side(8, 8), general(sizes=(0,) * 65), b"\0", flags=GENERAL),
    "prefixes that stop short": sealed(side(8, 8), general(prefixes=(2, 1, 1)), b"\0", flags=GENERAL),
    "prefixes that stand still": sealed(side(8, 8), general(prefixes=(2, 8, 0)), b"\0", flags=GENERAL),
    "prefixes beyond the file": sealed(side(8, 8), general(longest=65535, prefixes=(65536,)), b"\0", flags=GENERAL),
    "no tokens behind a large claim": sealed(side(2048, 2048), general(longest=65535), varint(65535), flags=GENERAL),
    "one token behind a large claim": sealed(side(2048, 2048), general(longest=65535), varint(65535), flags=GENERAL, payload=b"\x10"),
    "lengths beyond the file": sealed(side(2048, 2048), SHORT, b"\x03\0\0" + varint(2**28), flags=2),
    "unary without end": sealed(side(2048, 2048), SHORT, b"\x03\0\0" + varint(900) + bytes(900), flags=2),
    "large steps": sealed(side(16, 8), SHORT, b"\x02\0\xf0" + varint(3) + b"\0\1\xff", flags=2),
    "overlap 0": sealed(side(16, 8), SHORT, b"\0", b"\0", version=2, payload=b"\0"),
    **{f"overlap {n}": sealed(side(16, 8), SHORT, varint(n), b"\0", version=2, payload=bytes(9)) for n in [5, 8, *LARGE]},
    "overlap in the smaller side": sealed(side(16, 16), general(tile=(8, 3)), b"\2", b"\0", version=2, flags=GENERAL, payload=bytes(9)),
    "overlap of tiles of one pixel": sealed(side(9, 9), general(tile=(1, 8)), b"\1", b"\0", version=2, flags=GENERAL, payload=bytes(9)),
    "overlap of one tile": sealed(side(8, 8), SHORT, b"\2", b"\0", version=2, payload=b"\0"),
    "overlap of a whole picture": sealed(side(80, 80), SHORT, b"\2", b"\0", version=2, flags=1, payload=b"\0"),
    "many tiles that overlap": sealed(side(1024, 1032), SHORT, b"\4", b"\0", version=2, payload=bytes(9)),
    "filling bits": sealed(side(8, 8), SHORT, b"\0", payload=b"\x11"),
    "chunk beyond the file": sealed(side(8, 8), SHORT, b"\0", flags=4, payload=b"\x01" + varint(65000)),
    "chunk too large": sealed(side(8, 8), SHORT, b"\0", flags=4, payload=b"\x01" + varint(2**28)),
}


@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_header_is_refused_at_once_in_little_memory(name):
    started = time.process_time()
    tracemalloc.start()
    message = message_of(ABSURD[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message is not None
    assert "checksum" not in message
    assert peak < 20e6
    assert time.process_time() - started < 2


def test_the_seal_of_those_headers_is_good():
    data = sealed(side(8, 8), SHORT, b"\1", payload=b"\x12")
    assert TokenFile.from_bytes(data).ids[0, :, 0].tolist() == [1, 2]
    data = sealed(side(12, 8), SHORT, b"\4", b"\0", version=2, payload=b"\x12")
    assert TokenFile.from_bytes(data).ids[:, 0, 0].tolist() == [1, 2]
    chunks = b"\x01\x03cat" + zlib.crc32(b"\x01\x03cat").to_bytes(4, "little") + b"\0"
    assert TokenFile.from_bytes(_with_chunks(chunks)).caption == "cat"


def _with_chunks(chunks):
    return sealed(side(8, 8), SHORT, b"\1", flags=4, payload=b"\x12")[:-1] + chunks + b"\x12"


def chunk(kind, data):
    body = bytes([kind]) + varint(len(data)) + data
    return body + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        (chunk(200, b"?") + b"\0", "a chunk of type 200, which needs a newer reader"),
        (chunk(1, b"a") + chunk(1, b"b") + b"\0", "two captions"),
        (chunk(1, b"\xff") + b"\0", "the caption is not UTF-8"),
        (chunk(1, bytes(4097)) + b"\0", "a caption of 4097 bytes, allowed are 4096"),
        (chunk(7, b"") * 17 + b"\0", "more than 16 chunks"),
        (chunk(7, bytes(40_000)) * 2 + b"\0", "chunk size is 40000, allowed are 0 to 25"),
        (chunk(1, b"cat")[:-1] + b"?\0", "the checksum of the chunk of type 1 is wrong"),
        (chunk(1, b"cat"), "cut too early"),
    ],
)
def test_chunks_against_the_rules_are_refused(chunks, message):
    assert message in message_of(_with_chunks(chunks))


def test_chunks_of_unknown_types_below_128_are_skipped():
    assert TokenFile.from_bytes(_with_chunks(chunk(127, b"new") + chunk(1, b"cat") + chunk(2, b"") * 14 + b"\0")).caption == "cat"


def test_an_id_beyond_its_codebook_is_refused():
    data = sealed(side(8, 8), general(sizes=(8,)), b"\1", flags=GENERAL, payload=b"\x9a")
    assert "token 1 of the payload has id 10, its codebook has 10 codes" in message_of(data)


def test_one_long_string_among_many_short_ones_is_refused():
    spec = general(sizes=(0,), longest=59_999)
    num_tiles = 60_000
    bits = "0" * 59_998 + "1" + "1" + "001" + "01" + "1" * (num_tiles - 3)  # a step of 59,999; then places 0, 1, 0, 0, ...
    bits += "0" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8, "big")
    section = b"\x02\0\0" + varint(len(coded)) + coded
    payload = bytes(-(-(num_tiles + 59_999) // 8))
    data = sealed(side(8 * num_tiles // 60, 8 * 60), spec, section, flags=GENERAL | 2, payload=payload)
    assert "too uneven" in message_of(data)
