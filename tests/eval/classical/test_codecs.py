"""Classical codecs: files that fit, and pictures that come back."""

import numpy as np
import pytest

from tests.cli.samples import pixels
from vtok.errors import MissingExtraError
from vtok.eval.classical.codecs import TABLE
from vtok.eval.classical.matched import MatchedFiles
from vtok.eval.pairs.psnr import psnr


def there(name):
    try:
        TABLE[name].library()
    except MissingExtraError as error:
        return pytest.param(name, marks=pytest.mark.skip(reason=str(error)))
    return name


every_codec = pytest.mark.parametrize("name", [there(name) for name in TABLE])


@pytest.fixture(scope="module")
def picture():
    """A smooth picture with an edge."""
    across = np.linspace(0, 200, 96)[None, :, None] + np.zeros((64, 1, 3))
    across[:, 48:] = 255 - across[:, 48:]
    return across.astype(np.uint8)


@every_codec
def test_a_picture_comes_back_as_large_as_it_was_and_nearer_with_more_quality(name, picture):
    codec = TABLE[name]
    figures = []
    for quality in (codec.qualities[0], codec.qualities[-1]):
        decoded = codec.decode(codec.encode(picture, quality))
        assert (decoded.shape, decoded.dtype) == (picture.shape, np.uint8)
        figures.append(psnr(picture, decoded))
    assert figures[1] > figures[0]
    assert figures[1] > 30


@every_codec
def test_the_bytes_do_not_change_from_call_to_call(name, picture):
    codec = TABLE[name]
    quality = codec.qualities[len(codec.qualities) // 2]
    assert codec.encode(picture, quality) == codec.encode(picture, quality)


@every_codec
def test_the_largest_file_within_a_budget_is_found(name):
    files = MatchedFiles(TABLE[name], pixels(64, 96))
    sizes = [len(files.data(quality)) for quality in TABLE[name].qualities[:: max(1, len(TABLE[name].qualities) // 12)]]
    budget = sorted(sizes)[len(sizes) // 2]
    file = files.within(budget)
    assert len(file.data) <= budget
    assert not file.floor
    assert len(file.data) > 0.8 * budget


@every_codec
def test_a_budget_below_the_smallest_file_gives_that_and_says_so(name):
    files = MatchedFiles(TABLE[name], pixels(64, 96))
    file = files.within(1)
    assert file.floor
    assert file.quality == TABLE[name].qualities[0]


def test_files_are_written_once(picture, monkeypatch):
    codec, written = TABLE["jpeg"], []
    monkeypatch.setattr(type(codec), "encode", lambda _, __, quality: (written.append(quality), bytes(int(quality)))[1])
    files = MatchedFiles(codec, picture)
    for budget in (10, 20, 30, 20, 10):
        assert len(files.within(budget).data) == budget
    assert len(written) == len(set(written))


def test_codecs_say_what_they_are():
    facts = TABLE["jpeg"].describe()
    assert facts["title"] == "JPEG"
    assert "jpeg" in facts["library"]["encoder"].lower()
    assert facts["settings"]["subsampling"] == "4:2:0"
