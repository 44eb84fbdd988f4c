"""The header: sizes, forms of the spec, limits."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.strategies import QUICK
from vtok.codec.cursor import Cursor, varint
from vtok.codec.header import Header, covered_size, grid_of, read_header
from vtok.errors import PictureError, UnsupportedError
from vtok.tokenizers.spec import TokenSpec

DIGEST = bytes(4)


def nested(size=4096, max_tokens=256, side=64):
    return TokenSpec((size,), max_tokens, tuple(range(1, max_tokens + 1)), (side, side), (side, side))


def whole(spec, height, width, length=None):
    return Header(spec, DIGEST, (height, width), True, np.array([length or spec.max_tokens]))


@QUICK
@given(st.integers(1, 65535), st.integers(1, 31), st.integers(1, 256), st.integers(1, 256), st.booleans(), st.data())
def test_the_header_of_one_tile_takes_at_most_24_bytes(width, bits, max_tokens, side, fixed, data):
    height = data.draw(st.integers(1, min(65535, 100_000_000 // width)))
    spec = nested(2**bits, max_tokens, 4 * side)
    if fixed:
        spec = replace(spec, prefix_lengths=(max_tokens,))
    header = whole(spec, height, width)
    assert header.size_bytes() == len(header.to_bytes(b"")) <= 24


@pytest.mark.parametrize(("height", "width"), [(65535, 1525), (1525, 65535), (10_000, 10_000), (1, 1)])
def test_the_header_of_the_largest_pictures_takes_at_most_24_bytes(height, width):
    assert whole(nested(2**31, 256, 1024), height, width).size_bytes() <= 24


@pytest.mark.parametrize(
    ("spec", "bytes_more"),
    [
        (nested(), 0),
        (replace(nested(), prefix_lengths=(256,)), 0),
        (nested(side=66), 8),
        (nested(side=1028), 8 + 4),
        (nested(size=1000), 7 + 1),
        (nested(max_tokens=257), 8 + 1 + 1),
        (replace(nested(), output_size=(128, 128)), 8 + 2 + 2),
        (replace(nested(), prefix_lengths=(1, 16, 256)), 8 + 4 + 1),
    ],
)
def test_what_the_short_form_cannot_hold_takes_the_general_one(spec, bytes_more):
    header = whole(spec, 64, 64, length=spec.max_tokens)
    data = header.to_bytes(b"")
    assert read_header(Cursor(data, "the data"))[0].spec == spec
    assert bool(data[4] & 8) == bool(bytes_more)


def test_a_spec_in_the_general_form_where_the_short_one_would_do_is_read():
    general = whole(nested(size=1000, max_tokens=5), 64, 64).to_bytes(b"")
    start = general.index(varint(998))
    rewritten = general[:start] + varint(1024 - 2) + general[start + 2 : -2]
    data = rewritten + crc(rewritten)
    assert read_header(Cursor(data, "the data"))[0].spec == nested(size=1024, max_tokens=5)


def crc(data):
    value = 0xFFFF
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
    return value.to_bytes(2, "little")


def test_the_header_checksum_is_the_one_of_the_specification():
    assert crc(b"123456789") == 0x29B1.to_bytes(2, "little")
    data = whole(nested(), 3, 5).to_bytes(b"payload")
    assert data[-2:] == crc(data[:-2])


def test_the_file_keeps_no_grid_and_no_scales():
    header = whole(replace(nested(max_tokens=4), grid=(2, 2)), 64, 64)
    assert header.spec == nested(max_tokens=4)


@pytest.mark.parametrize(
    ("size", "overlap", "grid"),
    [
        ((64, 64), 0, (1, 1)),
        ((64, 65), 0, (1, 2)),
        ((1, 65), 8, (1, 2)),
        ((64, 120), 8, (1, 2)),
        ((65, 121), 8, (2, 3)),
        ((176, 176), 8, (3, 3)),
        ((177, 176), 8, (4, 3)),
        ((96, 97), 32, (2, 3)),
        ((128, 127), 1, (3, 2)),
    ],
)
def test_so_many_tiles_cover_a_picture(size, overlap, grid):
    spec = nested()
    assert grid_of(spec, size, whole=False, overlap=overlap) == grid
    assert grid_of(spec, size, whole=True, overlap=overlap) == (1, 1)
    for side, count, covered in zip(size, grid, covered_size(spec, grid, overlap), strict=True):
        assert side <= covered
        assert count == 1 or side > covered - (64 - overlap)  # one tile less would not do


def test_the_overlap_takes_one_varint_behind_the_spec():
    apart, overlapping = (Header(nested(), DIGEST, (64, 200), False, np.full(4, 3), overlap=overlap).to_bytes(b"") for overlap in (0, 16))
    spec = bytes([15, 12, 255])
    start = apart.index(spec) + 3
    assert (apart[3], overlapping[3]) == (1, 2)
    assert overlapping[4 : start + 1] == apart[4:start] + bytes([16])
    assert len(overlapping) == len(apart) + 1
    assert read_header(Cursor(overlapping, "the data"))[0].overlap == 16


@pytest.mark.parametrize(("overlap", "size", "count"), [(33, (64, 200), 4), (-1, (64, 200), 4), (8, (64, 64), 1)])
def test_an_overlap_out_of_range_is_a_mistake_of_the_program(overlap, size, count):
    with pytest.raises(ValueError, match="overlap must be 0"):
        Header(nested(), DIGEST, size, False, np.full(count, 3), overlap=overlap)


def test_a_whole_picture_has_no_overlap():
    with pytest.raises(ValueError, match="overlap must be 0 for a picture of one tile, got 8"):
        Header(nested(), DIGEST, (640, 640), True, np.array([3]), overlap=8)


def test_tiles_that_overlap_are_counted_as_they_lie():
    with pytest.raises(PictureError, match="511 x 511 tiles; at most 65536"):
        Header(nested(side=4), DIGEST, (1024, 1024), False, np.full(256**2, 1), overlap=2)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((0, 5), "5 x 0 pixels; sides are 1 to 65535"),
        ((5, 65536), "65536 x 5 pixels; sides are 1 to 65535"),
        ((10_001, 10_000), "10000 x 10001 pixels; at most 100 million"),
    ],
)
def test_a_picture_beyond_the_limits_is_refused_with_its_size(size, message):
    with pytest.raises(PictureError, match=message):
        Header(nested(), DIGEST, size, True, np.array([1]))


def test_more_than_65536_tiles_are_refused():
    with pytest.raises(PictureError, match="257 x 257 tiles; at most 65536"):
        Header(nested(side=4), DIGEST, (1025, 1025), False, np.full(257**2, 1))
    assert Header(nested(side=4), DIGEST, (1024, 1024), False, np.full(256**2, 1)).grid == (256, 256)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (nested(side=65536), "at most 65535 pixels a side, this model has 65536"),
        (nested(max_tokens=65537), "at most 65536 tokens a tile, this model has 65537"),
        (nested(size=2**31 + 1), "at most 64 codebooks of at most 2\\*\\*31 codes, this model has 1 of up to 2147483649 codes"),
        (replace(nested(), codebook_sizes=(2,) * 65), "this model has 65 of up to 2 codes"),
    ],
)
def test_a_spec_beyond_the_limits_is_refused(spec, message):
    with pytest.raises(UnsupportedError, match=message):
        whole(spec, 64, 64)


@pytest.mark.parametrize(
    ("lengths", "digest"),
    [
        (np.array([1, 1]), DIGEST),
        (np.array([1.0]), DIGEST),
        (np.array([0]), DIGEST),
        (np.array([257]), DIGEST),
        (np.array([1]), b"abc"),
    ],
)
def test_fields_that_contradict_each_other_are_a_mistake_of_the_program(lengths, digest):
    with pytest.raises(ValueError, match="must be"):
        Header(nested(), digest, (64, 64), False, lengths)
