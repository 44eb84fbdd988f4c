"""`vtok cache-latents`: a folder of pictures to a cache that training reads."""

import pytest
from PIL import Image

from tests.cli.samples import files_under, pixels
from tests.conftest import CHECKOUT
from tests.threads import threads
from vtok.data.sources import open_source
from vtok.data.sources.cache import CacheSource
from vtok.tokenizers.vae import Vae


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The pictures are small."""
    with threads(1):
        yield


@pytest.fixture
def album(tmp_path):
    """Two pictures."""
    folder = tmp_path / "album"
    folder.mkdir()
    for name, size in {"a.png": (20, 34), "b.webp": (40, 24)}.items():
        Image.fromarray(pixels(*size)).save(folder / name)
    return folder


def test_a_folder_becomes_a_cache_and_the_second_time_nothing_is_left_to_do(vtok, album, tmp_path):
    output = tmp_path / "cache"
    first = vtok("cache-latents", album, "-o", output, "--scales", "1.0,0.5", "--mirror", "--device", "cpu")
    assert (first.code, first.out.decode()) == (0, f"{output}\n")
    assert "2 of 2 pictures" in first.line
    source = open_source(output)
    assert isinstance(source, CacheSource)
    assert [[stored.variant.name for stored in source.stored(index)] for index in range(2)] == [
        ["1", "0.5", "1-mirrored", "0.5-mirrored"],
        ["1", "0.5", "1-mirrored", "0.5-mirrored"],
    ]
    assert source[1].pixels.shape == (40, 24, 3)
    written = files_under(output)
    second = vtok("cache-latents", album, "-o", output, "--scales", "1,0.5", "--mirror")
    assert (second.code, second.line) == (0, f"{output} is complete, nothing was left to do")
    assert files_under(output) == written


def test_the_latents_of_a_kl_autoencoder_that_was_trained_are_kept(vtok, album, tmp_path):
    pytest.importorskip("diffusers", reason="needs the extra `models`")
    Vae.tiny().save_pretrained(tmp_path / "vae")
    result = vtok("cache-latents", album, "-o", tmp_path / "cache", "--autoencoder", tmp_path / "vae", "-q")
    assert (result.code, result.err) == (0, "")
    source = open_source(tmp_path / "cache")
    assert [(stored.rows, stored.cols) for stored in source.stored(1)] == [(10, 6)]
    assert source.crop(1, source.stored(1)[0], (0, 0), (10, 6))[1].shape == (5, 10, 6)


def test_broken_pictures_are_listed_with_exit_code_3_both_times(vtok, album, tmp_path):
    (album / "c.png").write_bytes(b"junk")
    for _ in range(2):
        result = vtok("cache-latents", album, "-o", tmp_path / "cache", "--quiet")
        assert result.code == 3
        assert "vtok: 1 of 3 pictures failed:" in result.err
        assert "c.png: not a picture" in result.err


def test_quiet_says_only_where_the_cache_is(vtok, album, tmp_path):
    result = vtok("cache-latents", album, "-o", tmp_path / "cache", "-q", "--split", "train", "--max-side", "16")
    assert (result.code, result.err, result.out.decode()) == (0, "", f"{tmp_path / 'cache'}\n")


def test_another_cache_in_the_folder_stays_and_is_named(vtok, album, tmp_path):
    assert vtok("cache-latents", album, "-o", tmp_path / "cache", "-q").code == 0
    written = files_under(tmp_path / "cache")
    result = vtok("cache-latents", album, "-o", tmp_path / "cache", "--max-side", "16")
    assert result.code == 2
    assert "with max_side 512, not 16" in result.line
    assert files_under(tmp_path / "cache") == written


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--autoencoder", "pixels"), "pixels has no network"),
        (("--autoencoder", "none/here"), "no autoencoder 'none/here'"),
        (("--weights", "none.safetensors"), "none.safetensors"),
        (("--scales", "1,big"), "--scales takes numbers"),
        (("--scales", "9"), "at most 4, got 9"),
        (("--kind", "tar"), "no picture found"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(vtok, album, tmp_path, arguments, words):
    result = vtok("cache-latents", album, "-o", tmp_path / "cache", *arguments)
    assert result.code == 2
    assert words in result.err
    assert not (tmp_path / "cache").exists()


def test_the_commands_of_the_page_on_training_data_work(vtok, album, tmp_path, monkeypatch):
    album.rename(tmp_path / "Pictures")
    monkeypatch.chdir(tmp_path)
    page = (CHECKOUT / "docs" / "training-data.md").read_text(encoding="utf-8")
    commands = page.split("```\n")[1].splitlines()
    assert [vtok(*command.split()[1:]).code for command in commands] == [0, 0]
    assert all(len(open_source(tmp_path / name)) == 2 for name in ("latents", "latents-both"))
