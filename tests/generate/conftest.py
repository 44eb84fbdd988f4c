"""Small data sets of pictures, of strings, and a tiny tokenizer."""

import pytest
from PIL import Image

from tests.cli.samples import pixels
from vtok.data.sources.open import open_parts
from vtok.generate.tokenize.shard import Speed
from vtok.generate.tokenize.work import TokenizeJob, settings_of
from vtok.tokenizers.linear import LinearTokenizer


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of a tokenizer: tiles of 16 pixels, 8 tokens of 4 bits, a codebook for each position."""
    folder = tmp_path_factory.mktemp("tiny")
    LinearTokenizer.tiny().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def album(tmp_path_factory):
    """Thirty pictures in three folders, one of them with a text beside it."""
    folder = tmp_path_factory.mktemp("album")
    for number in range(30):
        place = folder / f"class{number % 3}"
        place.mkdir(exist_ok=True)
        Image.fromarray(pixels(20 + number % 5, 24, seed=number)).save(place / f"{number:03d}.png")
    (folder / "class0" / "000.txt").write_text("a wave\n")
    return folder


@pytest.fixture(scope="session")
def job_of(tiny, album):
    """Makes the work of turning the album into strings."""

    def job(folder, *, part_size=8, num_tokens=None, classes="folder", **views):
        parts = open_parts(album, part_size=part_size)
        tokenizer = LinearTokenizer.from_pretrained(tiny)
        settings = settings_of(
            tokenizer, parts, source="album", model=str(tiny), num_tokens=num_tokens, classes=classes, views={"views": 3} | views
        )
        return TokenizeJob(parts, settings, folder, Speed(batch_size=5, workers=2)), tokenizer

    return job


@pytest.fixture(scope="session")
def strings(job_of, tmp_path_factory):
    """A finished data set of ninety strings in four shards."""
    folder = tmp_path_factory.mktemp("strings")
    job, tokenizer = job_of(folder)
    assert len(list(job.run(range(4), tokenizer))) == 4
    assert job.finish() is not None
    return folder


def bytes_of(folder):
    """What lies in a folder of shards, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
