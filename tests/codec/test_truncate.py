"""Fewer tokens, without a model."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.strategies import QUICK, assert_equal, token_files
from vtok.codec import TokenFile, truncate
from vtok.errors import BudgetError, LengthError
from vtok.tokenizers.spec import TokenSpec

SPEC = TokenSpec((4096,), 64, tuple(range(1, 65)), (64, 64), (64, 64))


def example(lengths=(5, 64, 20, 9)):
    ids = np.random.default_rng(0).integers(0, 4096, (len(lengths), max(lengths), 1))
    ids[np.arange(max(lengths)) >= np.array(lengths)[:, None]] = 0
    return TokenFile(SPEC, b"abcd", (64, 64 * len(lengths)), False, np.array(lengths), ids)


@QUICK
@given(token_files(), st.data())
def test_each_string_keeps_at_most_the_tokens_asked_for(file, data):
    allowed = [n for n in file.spec.prefix_lengths if n <= file.lengths.max()]
    tokens = data.draw(st.sampled_from(allowed))
    short = truncate(file, tokens=tokens)
    assert short.lengths.tolist() == [min(n, tokens) for n in file.lengths]
    for before, after, length in zip(file.ids, short.ids, short.lengths, strict=True):
        np.testing.assert_array_equal(after[:length], before[:length])
    assert_equal(TokenFile.from_bytes(short.to_bytes()), short)
    for name in ("spec", "digest", "size", "caption", "overlap"):
        assert getattr(short, name) == getattr(file, name)


@QUICK
@given(token_files(), st.data())
def test_the_largest_cap_that_fits_the_bytes_is_taken(file, data):
    caps = [n for n in file.spec.prefix_lengths if n <= file.lengths.max()]
    sizes = [truncate(file, tokens=n).num_bytes for n in caps]
    assert sizes == sorted(sizes)
    num_bytes = data.draw(st.integers(sizes[0], sizes[-1] + 3))
    short = truncate(file, num_bytes=num_bytes)
    largest = max(n for n, size in zip(caps, sizes, strict=True) if size <= num_bytes)
    assert short.lengths.max() == largest
    assert len(short.to_bytes()) <= num_bytes


def test_a_file_that_is_small_enough_stays_as_it_is():
    assert_equal(truncate(example(), num_bytes=10_000), example())


def test_a_cut_file_can_be_truncated():
    data = example().to_bytes()
    cut = TokenFile.from_bytes(data[:-30])
    assert cut.lengths.max() < 64
    short = truncate(cut, tokens=7)
    assert short.lengths.tolist() == [5, 7, 7, 7]
    assert not short.cut


def test_more_tokens_than_the_file_has_are_refused():
    with pytest.raises(LengthError, match="21 tokens a tile asked, the file has 20"):
        truncate(example((5, 20)), tokens=21)


@pytest.mark.parametrize("tokens", [0, -1])
def test_no_tokens_are_refused(tokens):
    with pytest.raises(LengthError, match=f"{tokens} tokens do not decode here; lengths that do: 1 to 64"):
        truncate(example(), tokens=tokens)


def test_a_length_that_does_not_decode_is_refused():
    spec = TokenSpec((4096,), 9, (1, 4, 9), (64, 64), (64, 64))
    file = TokenFile(spec, b"abcd", (64, 64), False, np.array([9]), np.zeros((1, 9, 1), np.int64))
    with pytest.raises(LengthError, match="5 tokens do not decode here; lengths that do: 1, 4, 9"):
        truncate(file, tokens=5)


@pytest.mark.parametrize("num_bytes", [0, 27])
def test_too_few_bytes_are_refused_with_the_smallest_size(num_bytes):
    with pytest.raises(BudgetError, match=f"{num_bytes} bytes are too few: .* takes 28 bytes"):
        truncate(example(), num_bytes=num_bytes)
    assert truncate(example(), num_bytes=28).num_bytes == 28


@pytest.mark.parametrize("wish", [{}, {"tokens": 1, "num_bytes": 100}])
def test_one_wish_is_needed(wish):
    with pytest.raises(ValueError, match="either tokens or num_bytes"):
        truncate(example(), **wish)


def test_reading_and_truncating_load_no_torch(tmp_path):
    path = tmp_path / "picture.vtok"
    path.write_bytes(example().to_bytes())
    program = f"""
import sys
from vtok.codec import read, truncate, write
write({str(path)!r}, truncate(read({str(path)!r}), tokens=3))
heavy = {{"torch", "scipy", "pydantic", "einops"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert TokenFile.from_bytes(path.read_bytes()).lengths.tolist() == [3, 3, 3, 3]
