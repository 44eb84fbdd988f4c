"""Writing a cache of latents, and the samples of a run that come from it."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tests.train.toy_autoencoder import ToyAutoencoder, ToyConfig
from vtok.data import from_eight_bit, open_source, resize, write_picture
from vtok.data.sources.cache import CacheSource
from vtok.errors import ConfigError, DataError, OutputError
from vtok.train.config import DataConfig, TrainConfig
from vtok.train.samples import latent_cache
from vtok.train.samples.batches import open_batches
from vtok.train.samples.held_out import held_out_crops
from vtok.train.samples.latent_cache import LatentCache, autoencoder_digest, cache_settings, named_autoencoder, variants
from vtok.train.samples.pictures import open_pictures


def picture(number: int, height: int = 54, width: int = 82) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "pictures"
    path.mkdir()
    for number in range(5):
        write_picture(path / f"{number}.png", picture(number))
    return path


@pytest.fixture(autouse=True)
def two_pictures_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_cache, "MOST_PICTURES", 2)


def opened(folder: Path, *, scales=(1.0, 0.5), mirror: bool = False, max_side: int = 0, autoencoder: ToyAutoencoder | None = None):
    """The cache to be made beside the pictures, with what makes it."""
    source, encoder = open_source(folder), autoencoder or ToyAutoencoder()
    settings = cache_settings(source, ToyConfig(), encoder, kept=variants(scales, mirror=mirror), max_side=max_side)
    return LatentCache(folder.parent / "cache", settings), source, encoder


def made(folder: Path, **settings) -> CacheSource:
    cache, source, encoder = opened(folder, **settings)
    list(cache.write(source, encoder))
    return CacheSource(cache.folder, name="cache")


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def crops(path: Path, size: int = 16, **data) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for parts in open_batches(DataConfig(path=str(path), crop_size=size, **data), TrainConfig(steps=8, batch_size=4), 0):
        for part in parts:
            assert part.latents is not None
            yield from zip(part.images, part.latents, strict=True)


class TestWhatIsKept:
    def test_each_picture_at_each_scale_cropped_to_whole_latents(self, folder):
        source = made(folder)
        assert len(source) == 5
        assert [source.key(index) for index in range(5)] == [f"{number}.png" for number in range(5)]
        for index in range(5):
            large, small = source.stored(index)
            assert (large.rows, large.cols, small.rows, small.cols) == (13, 20, 6, 10)
            pixels, _ = source.crop(index, large, (0, 0), (13, 20))
            assert np.array_equal(pixels, picture(index)[:52, :80])
            pixels, _ = source.crop(index, small, (0, 0), (6, 10))
            assert np.array_equal(pixels, resize(picture(index), 27, 41)[:24, :40])

    def test_the_latents_are_the_autoencoders_in_half_precision(self, folder):
        source, encoder = made(folder), ToyAutoencoder()
        for stored in source.stored(3):
            pixels, latents = source.crop(3, stored, (0, 0), (stored.rows, stored.cols))
            expected = encoder.encode(from_eight_bit(pixels))[0].detach()
            assert latents.dtype == np.float16
            torch.testing.assert_close(torch.from_numpy(latents).float(), expected, rtol=1e-3, atol=1e-3)  # half precision

    def test_large_pictures_are_scaled_down_first(self, folder):
        (largest,) = made(folder, scales=[1.0], max_side=16).stored(0)
        assert (largest.rows, largest.cols) == (4, 6)

    def test_mirrored_copies_are_mirrored(self, folder):
        source = made(folder, scales=[1.0], mirror=True)
        plain, mirrored = source.stored(0)
        assert (plain.variant.mirrored, mirrored.variant.mirrored) == (False, True)
        pixels, _ = source.crop(0, mirrored, (0, 0), (13, 20))
        assert np.array_equal(pixels, picture(0)[:52, ::-1][:, :80])

    def test_scales_too_small_for_a_latent_are_left_out_and_so_are_such_pictures(self, folder):
        write_picture(folder / "1.png", picture(1, 6, 50))
        write_picture(folder / "3.png", picture(1, 3, 50))
        source = made(folder)
        assert [source.key(index) for index in range(len(source))] == ["0.png", "1.png", "2.png", "4.png"]
        assert [stored.variant.scale for stored in source.stored(1)] == [1.0]
        cache, *_ = opened(folder)
        assert cache.manifest.skipped == (("3.png", "3.png: smaller than one latent, 4 pixels a side"),)

    def test_broken_pictures_are_listed(self, folder):
        (folder / "2.png").write_bytes(b"junk")
        assert len(made(folder)) == 4
        cache, *_ = opened(folder)
        ((key, reason),) = cache.manifest.skipped
        assert key == "2.png"
        assert "not a picture" in reason

    def test_a_name_that_is_no_text_is_listed(self, folder):
        (folder / "0.png").rename(folder / "\udcff.png")
        assert len(made(folder)) == 4
        cache, *_ = opened(folder)
        assert cache.manifest.skipped[0][0] == "?.png"

    def test_no_picture_at_all_is_an_error(self, folder):
        for number in range(5):
            (folder / f"{number}.png").write_bytes(b"junk")
        with pytest.raises(DataError, match="no picture could be kept; 5 pictures skipped"):
            made(folder)

    def test_a_shard_is_closed_when_it_is_full(self, folder, monkeypatch):
        monkeypatch.setattr(latent_cache, "FULL_BYTES", 1)
        made(folder)
        assert len(list((folder.parent / "cache").glob("shard-*"))) == 5


class TestAStoppedWork:
    def test_it_goes_on_and_ends_as_one_that_was_not_stopped(self, folder):
        cache, source, encoder = opened(folder)
        list(cache.write(source, encoder))
        unbroken = contents(cache.folder)
        for file in cache.folder.iterdir():
            file.unlink()
        next(cache.write(source, encoder))
        (cache.folder / "shard-00000002.safetensors.123.part").write_bytes(b"half")
        first = (cache.folder / "shard-00000000.safetensors").stat().st_mtime_ns
        again, *_ = opened(folder)
        assert not again.is_complete
        progress = list(again.write(source, encoder))
        assert [(step.num_done, step.is_new) for step in progress] == [(2, False), (4, True), (5, True)]
        assert contents(cache.folder) == unbroken
        assert (cache.folder / "shard-00000000.safetensors").stat().st_mtime_ns == first

    def test_an_unfinished_cache_is_not_read(self, folder):
        cache, source, encoder = opened(folder)
        next(cache.write(source, encoder))
        with pytest.raises(DataError, match="not finished; run the same vtok cache-latents again"):
            open_source(cache.folder)

    def test_a_finished_one_is_complete(self, folder):
        made(folder)
        cache, *_ = opened(folder)
        assert cache.is_complete

    @pytest.mark.parametrize("num_left", [None, -3, 0])
    def test_a_missing_or_damaged_shard_is_made_again(self, folder, num_left, caplog):
        made(folder)
        cache, source, encoder = opened(folder)
        whole, file = contents(cache.folder), cache.folder / "shard-00000002.safetensors"
        file.unlink()
        if num_left is not None:
            file.write_bytes(whole[file.name][:num_left])
        with caplog.at_level(logging.WARNING):
            assert [step.is_new for step in cache.write(source, encoder)] == [False, True, False]
        assert contents(cache.folder) == whole
        assert ("made again" in caplog.text) == (num_left is not None)

    def test_broken_pictures_of_shards_from_before_are_listed_too(self, folder):
        (folder / "0.png").write_bytes(b"junk")
        cache, source, encoder = opened(folder)
        next(cache.write(source, encoder))
        again, *_ = opened(folder)
        list(again.write(source, encoder))
        assert [key for key, _ in again.manifest.skipped] == ["0.png"]


class TestAnotherCacheInTheFolder:
    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"scales": [1.0]}, "at the scales 1, 0.5, not 1;"),
            ({"mirror": True}, "at the scales 1, 0.5, not 1, 0.5, 1-mirrored, 0.5-mirrored;"),
            ({"max_side": 20}, "with max_side 0, not 20;"),
            ({"autoencoder": ToyAutoencoder(1)}, "by another autoencoder;"),
        ],
    )
    def test_it_is_named_what_differs(self, folder, settings, words):
        made(folder)
        with pytest.raises(OutputError, match="choose another folder") as caught:
            opened(folder, **settings)
        assert words in str(caught.value)

    def test_other_pictures_differ_too(self, folder):
        made(folder)
        (folder / "0.png").rename(folder / "x.png")
        with pytest.raises(OutputError, match=r"holds a cache of other pictures \(5 of .*, not these 5\)"):
            opened(folder)

    def test_a_folder_of_other_things_is_left_alone(self, folder):
        (folder.parent / "cache").mkdir()
        (folder.parent / "cache" / "mine.txt").write_text("mine")
        with pytest.raises(OutputError, match="not empty and holds no cache"):
            opened(folder)

    def test_a_file_and_a_missing_parent_are_named(self, folder):
        (folder.parent / "cache").write_text("mine")
        with pytest.raises(OutputError, match="is a file"):
            opened(folder)
        cache = LatentCache(folder.parent / "no" / "cache", made_settings(folder))
        with pytest.raises(OutputError, match="cannot be written"):
            list(cache.write(open_source(folder), ToyAutoencoder()))


def made_settings(folder: Path):
    return cache_settings(open_source(folder), ToyConfig(), ToyAutoencoder(), kept=variants([1.0], mirror=False), max_side=0)


class TestTheSamplesOfARun:
    def test_latents_lie_where_their_pixels_do(self, folder):
        made(folder, mirror=True)
        encoder, shown = ToyAutoencoder(), set()
        for image, latents in crops(folder.parent / "cache"):
            assert (image.shape, latents.shape, latents.dtype) == ((3, 16, 16), (2, 4, 4), torch.float32)
            torch.testing.assert_close(latents, encoder.encode(image[None])[0].detach(), rtol=1e-3, atol=1e-3)  # half precision
            shown.add(image.numpy().tobytes())
        assert len(shown) > 24  # of 32

    def test_all_scales_and_mirrored_copies_are_drawn(self, folder):
        source = made(folder, mirror=True)
        wholes = [
            [from_eight_bit(source.crop(index, stored, (0, 0), (stored.rows, stored.cols))[0])[0] for index in range(5)]
            for stored in source.stored(0)
        ]
        drawn = {
            variant
            for image, _ in crops(folder.parent / "cache")
            for variant, pictures in enumerate(wholes)
            if any((whole.unfold(1, 16, 4).unfold(2, 16, 4) == image[:, None, None]).all(0).all((2, 3)).any() for whole in pictures)
        }
        assert drawn == {0, 1, 2, 3}

    def test_workers_change_nothing(self, folder):
        made(folder)
        one, two = (list(crops(folder.parent / "cache", workers=workers)) for workers in (0, 2))
        for (image, latents), (other_image, other_latents) in zip(one, two, strict=True):
            assert torch.equal(image, other_image)
            assert torch.equal(latents, other_latents)

    def test_pictures_smaller_than_the_crop_are_left_out(self, folder, caplog):
        write_picture(folder / "1.png", picture(1, 12, 90))
        made(folder)
        with caplog.at_level(logging.INFO):
            batches = open_batches(DataConfig(path=str(folder.parent / "cache"), crop_size=16), TrainConfig(steps=1), 0)
        assert batches.num_pictures == 4
        assert "1 of 5 pictures" in caplog.text
        with pytest.raises(DataError, match=r"no picture in this cache is as large as data\.crop_size, 128"):
            list(crops(folder.parent / "cache", 128))

    def test_a_crop_of_half_a_latent_is_refused(self, folder):
        made(folder)
        with pytest.raises(ConfigError, match=r"data\.crop_size 18 is not a multiple of the 4 pixels of a latent"):
            list(crops(folder.parent / "cache", 18))

    def test_overfitting_takes_the_middle_of_the_largest_variant(self, folder):
        made(folder, mirror=True)
        config = DataConfig(path=str(folder.parent / "cache"), crop_size=16)
        ((part,),) = open_batches(config, TrainConfig(steps=1, batch_size=5), 0, overfit=5)
        middles = [from_eight_bit(picture(number)[16:32, 32:48])[0] for number in range(5)]
        for image in part.images:
            assert any(torch.equal(image, middle) for middle in middles)

    def test_the_batches_say_whose_latents_they_hold(self, folder):
        made(folder)
        train = TrainConfig(steps=1)
        cached = open_batches(DataConfig(path=str(folder.parent / "cache"), crop_size=16), train, 0)
        assert cached.autoencoder_digest == autoencoder_digest(ToyAutoencoder())
        assert open_batches(DataConfig(path=str(folder), crop_size=16), train, 0).autoencoder_digest is None

    def test_captions_are_refused_since_it_keeps_none(self, folder):
        made(folder)
        with pytest.raises(ConfigError, match=r"data\.captions is true, but .*cache is a cache, which keeps no captions"):
            list(crops(folder.parent / "cache", captions=True))

    def test_it_serves_closed_form_starts_and_measuring_as_pictures(self, folder):
        made(folder)
        config = DataConfig(path=str(folder.parent / "cache"), crop_size=16)
        assert [pixels.shape for pixels in open_pictures(config, 0)] == [(52, 80, 3)] * 5
        assert held_out_crops(config, 2).shape == (2, 3, 16, 16)

    def test_no_file_is_open_twice_in_two_processes(self, folder):
        source = made(folder)
        source[0]
        assert source._open
        assert not source.__getstate__()["_open"]


def test_the_digest_is_that_of_the_weights_in_half_precision():
    autoencoder = ToyAutoencoder()
    halved = ToyAutoencoder()
    halved.load_state_dict({name: tensor.half().float() for name, tensor in autoencoder.state_dict().items()})
    assert autoencoder_digest(halved) == autoencoder_digest(autoencoder) != autoencoder_digest(ToyAutoencoder(1))
    assert len(autoencoder_digest(autoencoder)) == 64


def test_the_digest_is_that_of_what_makes_latents_alone():
    autoencoder = ToyAutoencoder()
    before = autoencoder_digest(autoencoder)
    with torch.no_grad():
        autoencoder.gain.add_(1)
    assert autoencoder_digest(autoencoder) == before
    with torch.no_grad():
        autoencoder.layer.bias.add_(1)
    assert autoencoder_digest(autoencoder) != before


def test_the_autoencoder_given_is_left_as_it_was(folder):
    encoder = ToyAutoencoder()
    before = encoder.layer.weight.stride()
    made(folder, autoencoder=encoder)
    assert encoder.layer.weight.stride() == before


def test_what_has_no_latents_or_its_own_weights_is_refused():
    with pytest.raises(ConfigError, match="pixels has no network"):
        named_autoencoder("pixels")
    with pytest.raises(ConfigError, match=r"some has its own weights; leave x\.safetensors out"):
        named_autoencoder("some", "x.safetensors")


@pytest.mark.parametrize("scales", [[], [0.0], [1.0, 5.0], [float("nan")]])
def test_scales_that_make_no_sense_are_refused(scales):
    with pytest.raises(ConfigError, match="scales must be above 0"):
        variants(scales, mirror=False)


def test_a_shard_is_a_safetensors_file_that_names_pictures_and_scales(folder):
    made(folder)
    with safe_open(folder.parent / "cache" / "shard-00000000.safetensors", "pt") as shard:
        assert sorted(shard.keys())[:2] == ["0.5/latents/0.png", "0.5/latents/1.png"]
