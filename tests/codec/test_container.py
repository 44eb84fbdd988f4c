"""Files to bytes and back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.slow_reader import read_slowly
from tests.codec.strategies import QUICK, assert_equal, token_files
from vtok.codec import TokenFile, file_size, read, write
from vtok.errors import FormatError, OutputError, UnsupportedError
from vtok.tokenizers.spec import TokenSpec

SPEC = TokenSpec((16,), 8, tuple(range(1, 9)), (8, 8), (8, 8))


def small(length=3, **fields):
    ids = np.arange(length)[None, :, None] % 16
    return TokenFile(SPEC, b"abcd", (8, 8), False, np.array([length]), ids, **fields)


@QUICK
@given(token_files())
def test_a_file_comes_back_from_its_bytes(file):
    data = file.to_bytes()
    found = TokenFile.from_bytes(data)
    assert_equal(found, file)
    assert not found.cut
    assert found.to_bytes() == data


@QUICK
@given(token_files())
def test_the_size_is_known_without_packing(file):
    size = len(file.to_bytes())
    assert size == file.num_bytes == file_size(file.spec, file.size, file.whole, file.lengths, file.caption, file.overlap)


@QUICK
@given(token_files())
def test_a_reader_written_from_the_specification_finds_the_same(file):
    found = read_slowly(file.to_bytes())
    assert found["lengths"] == file.lengths.tolist()
    assert found["strings"] == [row[:n].tolist() for row, n in zip(file.ids, file.lengths, strict=True)]
    for name in ("digest", "size", "whole", "caption", "overlap"):
        assert found[name] == getattr(file, name)
    spec = found["spec"]
    assert (spec["tile"], spec["output"]) == (file.spec.input_size, file.spec.output_size)
    assert (tuple(spec["sizes"]), tuple(spec["prefixes"])) == (file.spec.codebook_sizes, file.spec.prefix_lengths)


@QUICK
@given(token_files())
def test_only_a_file_whose_tiles_overlap_is_of_version_2(file):
    assert file.to_bytes()[3] == (2 if file.overlap else 1)


@QUICK
@given(token_files(), st.data())
def test_a_cut_file_decodes_to_the_whole_tokens_left(file, data):
    whole = file.to_bytes()
    payload = file.header.payload_size
    kept = data.draw(st.integers(0, payload - 1))
    cut = whole[: len(whole) - payload + kept]
    expected = read_slowly(cut)
    if min(expected["lengths"]) == 0:
        with pytest.raises(FormatError, match="cut too early"):
            TokenFile.from_bytes(cut)
        return
    found = TokenFile.from_bytes(cut)
    assert found.cut
    assert found.lengths.tolist() == expected["lengths"]
    assert [row[:n].tolist() for row, n in zip(found.ids, found.lengths, strict=True)] == expected["strings"]
    assert not found.ids[np.arange(found.ids.shape[1]) >= found.lengths[:, None]].any()
    assert_equal(TokenFile.from_bytes(found.to_bytes()), found)
    assert found.overlap == file.overlap


def test_tokens_beyond_the_last_length_that_decodes_are_dropped_from_a_cut_file():
    spec = TokenSpec((16,), 9, (1, 4, 9), (8, 8), (8, 8))
    ids = np.arange(1, 9).reshape(2, 4, 1)
    file = TokenFile(spec, b"abcd", (8, 16), False, np.array([4, 4]), ids)
    found = TokenFile.from_bytes(file.to_bytes()[:-1])
    assert found.lengths.tolist() == [1, 1]
    assert found.ids[..., 0].tolist() == [[1], [5]]
    odd = TokenFile(spec, b"abcd", (8, 24), False, np.array([4, 4, 4]), np.arange(1, 13).reshape(3, 4, 1))
    found = TokenFile.from_bytes(odd.to_bytes()[:-1])
    assert found.lengths.tolist() == [4, 1, 1]
    assert found.ids[..., 0].tolist() == [[1, 2, 3, 4], [5, 0, 0, 0], [9, 0, 0, 0]]


@QUICK
@given(token_files(), st.data())
def test_a_file_cut_before_its_tokens_is_refused(file, data):
    start = file.num_bytes - file.header.payload_size
    with pytest.raises(FormatError, match=r"cut too early|not a \.vtok file"):
        TokenFile.from_bytes(file.to_bytes()[: data.draw(st.integers(0, start - 1))])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_any_kind_are_read(kind):
    assert TokenFile.from_bytes(kind(small().to_bytes())).ids[0, :, 0].tolist() == [0, 1, 2]


def test_a_file_on_disk_comes_back(tmp_path):
    path = tmp_path / "picture.vtok"
    assert write(path, small(caption="a cat")) == path.stat().st_size == small(caption="a cat").num_bytes
    assert_equal(read(path), small(caption="a cat"))
    assert_equal(read(str(path)), small(caption="a cat"))


def test_reading_names_the_file(tmp_path):
    path = tmp_path / "picture.vtok"
    path.write_bytes(b"\xff\xd8\xff\xe0 a JPEG file")
    with pytest.raises(FormatError, match=r"picture.vtok: not a .vtok file: it starts with b'\\xff\\xd8\\xff'"):
        read(path)


@pytest.mark.parametrize("name", ["missing.vtok", "."])
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, name):
    with pytest.raises(FormatError, match="cannot be read: ") as error:
        read(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(OutputError, match="missing"):
        write(Path(tmp_path / "missing" / "picture.vtok"), small())


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.zeros((1, 2, 1), np.int64), "ids must be"),
        (np.zeros((1, 3, 2), np.int64), "ids must be"),
        (np.zeros((1, 3, 1), np.int32), "ids must be"),
        (np.full((1, 3, 1), 16), "ids must lie"),
        (np.full((1, 3, 1), -1), "ids must lie"),
    ],
)
def test_ids_that_contradict_the_spec_are_a_mistake_of_the_program(ids, message):
    with pytest.raises(ValueError, match=message):
        TokenFile(SPEC, b"abcd", (8, 8), False, np.array([3]), ids)


@pytest.mark.parametrize(("caption", "message"), [("é" * 2049, "takes 4098 bytes"), ("a\udcff", "not valid Unicode at character 1")])
def test_a_caption_that_does_not_fit_is_refused(caption, message):
    with pytest.raises(UnsupportedError, match=message):
        small(caption=caption).to_bytes()


def test_a_caption_of_the_largest_size_fits():
    assert TokenFile.from_bytes(small(caption="é" * 2048).to_bytes()).caption == "é" * 2048


def test_an_empty_caption_is_not_none():
    assert TokenFile.from_bytes(small(caption="").to_bytes()).caption == ""


def test_lengths_too_uneven_for_a_table_are_refused():
    spec = TokenSpec((2,), 60_000, tuple(range(1, 60_001)), (4, 4), (4, 4))
    lengths = np.array([60_000] + [1] * 59_999)
    with pytest.raises(UnsupportedError, match="uneven"):
        TokenFile(spec, b"abcd", (4 * 600, 400), False, lengths, np.zeros((1, 1, 1), np.int64))


@pytest.mark.parametrize("data", [Path("photo.vtok"), "photo.vtok", 5, None])
def test_what_is_no_bytes_is_a_mistake_of_the_program(data):
    with pytest.raises(TypeError, match="bytes-like"):
        TokenFile.from_bytes(data)
