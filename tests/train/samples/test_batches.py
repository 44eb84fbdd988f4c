"""The samples of a run: the same ones however they are read."""

import io
import logging
import multiprocessing
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from vtok.data import encode_png, from_eight_bit, write_picture
from vtok.data.sources import is_held_out
from vtok.errors import ConfigError, DataError
from vtok.train.config import DataConfig, TrainConfig
from vtok.train.samples.batches import Batches, open_batches
from vtok.train.samples.crop_readers import PictureCrops
from vtok.train.samples.held_out import held_out_crops
from vtok.train.samples.pictures import open_data, open_pictures

SIZE = 16


def picture(number: int, height: int = 24, width: int = 40) -> np.ndarray:
    """Noise around one colour, so that crops and pictures can be told apart."""
    noise = np.random.default_rng(number).integers(-3, 4, (height, width, 3))
    colour = np.array([10 * number + 5, 128, 128])
    return (noise + colour).clip(0, 255).astype(np.uint8)


def number_of(image: torch.Tensor) -> int:
    return int(image[0].mean() * 255 // 10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven pictures."""
    path = tmp_path / "pictures"
    path.mkdir()
    for number in range(7):
        write_picture(path / f"{number}.png", picture(number))
    return path


def opened(folder: Path, *, seed: int = 0, start_step: int = 0, train: TrainConfig | None = None, steps: int = 6, **data) -> Batches:
    """Four samples a step unless `train` says otherwise."""
    config = DataConfig(path=str(folder), crop_size=SIZE, **data)
    return open_batches(config, train or TrainConfig(steps=steps, batch_size=4), seed, start_step=start_step)


def images(batches: Batches) -> torch.Tensor:
    """(steps, samples of a step, 3, S, S)."""
    return torch.stack([torch.cat([part.images for part in parts]) for parts in batches])


def test_a_step_is_a_list_of_parts_with_images_in_0_to_1(folder):
    batches = opened(folder, train=TrainConfig(steps=6, batch_size=4, accumulate=2))
    steps = list(batches)
    assert len(batches) == len(steps) == 6
    for step, parts in enumerate(steps):
        assert [part.step for part in parts] == [step] * 2
        assert [part.indices.tolist() for part in parts] == [[0, 1], [2, 3]]
        for part in parts:
            assert (part.images.shape, part.images.dtype, part.latents) == ((2, 3, SIZE, SIZE), torch.float32, None)
            assert part.images.is_contiguous()
            assert part.indices.dtype == torch.int64
            assert 0.0 <= part.images.min() < part.images.max() <= 1.0


def test_unscaled_crops_are_pixels_of_the_pictures(folder):
    whole = [from_eight_bit(picture(number))[0] for number in range(7)]
    for image in images(opened(folder, scales=(1, 1), flip=False)).flatten(0, 1):
        squares = whole[number_of(image)].unfold(1, SIZE, 1).unfold(2, SIZE, 1)  # (3, rows, cols, S, S)
        assert (squares == image[:, None, None]).all((0, 3, 4)).any()


def test_every_picture_is_shown_once_an_epoch(folder):
    shown = [number_of(image) for image in images(opened(folder, steps=7)).flatten(0, 1)]
    assert [sorted(shown[first : first + 7]) for first in range(0, 28, 7)] == [list(range(7))] * 4


def test_two_processes_see_what_one_sees(folder):
    config, train = DataConfig(path=str(folder), crop_size=SIZE), TrainConfig(steps=5, batch_size=4)
    ranks = [open_batches(config, train, 0, rank=rank, world_size=2) for rank in range(2)]
    assert torch.equal(torch.cat([images(batches) for batches in ranks], 1), images(opened(folder, steps=5)))
    assert [parts[0].indices.tolist() for batches in ranks for parts in batches][::5] == [[0, 1], [2, 3]]


def test_neither_workers_nor_parts_nor_memory_change_the_samples(folder):
    expected = images(opened(folder))
    assert torch.equal(images(opened(folder, workers=2)), expected)
    assert torch.equal(images(opened(folder, train=TrainConfig(steps=6, batch_size=4, accumulate=4))), expected)
    assert torch.equal(images(opened(folder, memory_mb=0)), expected)


def test_a_run_that_goes_on_sees_the_samples_that_were_left(folder):
    assert torch.equal(images(opened(folder, start_step=4)), images(opened(folder))[4:])
    assert len(opened(folder, start_step=4)) == 2
    assert list(opened(folder, start_step=6)) == []


def test_a_second_pass_is_the_same_and_another_seed_is_not(folder):
    batches = opened(folder)
    first = images(batches)
    assert torch.equal(images(batches), first)
    assert not torch.equal(images(opened(folder, seed=1)), first)


def test_no_draw_of_the_global_generator_is_spent(folder):
    before = torch.get_rng_state()
    list(opened(folder, steps=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_about_half_of_the_crops_are_mirrored(tmp_path):
    ramp = np.repeat(np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], 24, 0), 3, 2)
    write_picture(tmp_path / "ramp.png", ramp)
    rising = [
        (image[0, 0, -1] > image[0, 0, 0]).item()
        for image in images(opened(tmp_path, train=TrainConfig(steps=2, batch_size=64))).flatten(0, 1)
    ]
    assert 40 <= sum(rising) <= 88
    assert all((image[0, 0, -1] > image[0, 0, 0]).item() for image in images(opened(tmp_path, flip=False)).flatten(0, 1))


def test_a_picture_smaller_than_the_crop_is_enlarged_and_a_large_one_scaled_down(tmp_path):
    write_picture(tmp_path / "small.png", picture(2, 5, 9))
    assert images(opened(tmp_path)).shape[-2:] == (SIZE, SIZE)
    write_picture(tmp_path / "small.png", picture(2, 400, 300))
    source = open_data(DataConfig(path=str(tmp_path)), 0)
    crops = PictureCrops(source, DataConfig(crop_size=16, max_side=16, scales=(1, 1), flip=False))
    assert crops.random(0, np.random.default_rng(0)).pixels.std((0, 1)).max() < 1  # noise that was averaged away


def test_memory_is_bounded_and_shared_between_workers(tmp_path):
    for number in range(4):
        write_picture(tmp_path / f"{number}.png", picture(number, 500, 500))  # 750,000 bytes each
    source = open_data(DataConfig(path=str(tmp_path)), 0)
    for workers, num_kept in ((0, 2), (1, 2), (2, 1)):
        crops = PictureCrops(source, DataConfig(crop_size=16, memory_mb=2, workers=workers))
        for number in (0, 1, 2, 3, 0):
            crops.center(number)
        assert len(crops._kept) == num_kept


def test_a_kept_picture_is_not_read_again(folder):
    crops = PictureCrops(open_data(DataConfig(path=str(folder)), 0), DataConfig(crop_size=16))
    before = crops.center(3).pixels
    (folder / "3.png").unlink()
    assert np.array_equal(crops.center(3).pixels, before)


class TestBrokenPictures:
    @pytest.fixture
    def damaged(self, folder: Path) -> Path:
        (folder / "2.png").write_bytes(b"junk")
        (folder / "5.png").write_bytes(b"")
        return folder

    @pytest.mark.parametrize("workers", [0, 2])
    def test_they_are_replaced_counted_and_named_once(self, damaged, workers, caplog):
        with caplog.at_level(logging.WARNING):
            batches = opened(damaged, steps=14, workers=workers)
            shown = [number_of(image) for image in images(batches).flatten(0, 1)]
        assert set(shown) == {0, 1, 3, 4, 6}
        assert sorted(key for key, _ in batches.skipped.pictures) == ["2.png", "5.png"]
        assert len([record for record in caplog.records if "2.png" in record.getMessage()]) == 1
        assert "picture skipped (2 so far)" in caplog.text

    def test_the_one_in_its_place_does_not_depend_on_how_it_was_read(self, damaged):
        expected = images(opened(damaged, steps=14))
        assert torch.equal(images(opened(damaged, steps=14, workers=2)), expected)
        assert torch.equal(images(opened(damaged, steps=14, start_step=9)), expected[9:])

    def test_the_other_samples_stay_as_they_were(self, folder, damaged):
        changed = images(opened(damaged))
        for number in (2, 5):
            write_picture(folder / f"{number}.png", picture(number))
        whole = images(opened(folder))
        for with_all, without in zip(whole.flatten(0, 1), changed.flatten(0, 1), strict=True):
            assert torch.equal(with_all, without) or number_of(with_all) in (2, 5)

    @pytest.mark.parametrize("workers", [0, 1])
    def test_none_that_can_be_read_is_an_error_of_one_line(self, folder, workers):
        for number in range(7):
            (folder / f"{number}.png").write_bytes(b"junk")
        with pytest.raises(DataError, match="no picture could be read; 7 pictures skipped") as caught:
            list(opened(folder, workers=workers))
        assert "\n" not in str(caught.value)


class TestCaptions:
    @pytest.fixture
    def told(self, folder: Path) -> Path:
        """Every picture with its number in words, but for 2 and 5."""
        for number in (0, 1, 3, 4, 6):
            (folder / f"{number}.txt").write_text(f"number {number}\n")
        (folder / "5.txt").write_text(" \n")
        return folder

    def pairs(self, batches: Batches) -> list[tuple[int, str]]:
        """What each sample shows, and what it is said to show."""
        found: list[tuple[int, str]] = []
        for parts in batches:
            for batch in parts:
                assert isinstance(batch.captions, tuple)
                found += zip(map(number_of, batch.images), batch.captions, strict=True)
        return found

    @pytest.mark.parametrize(
        "settings", [{}, {"memory_mb": 0}, {"workers": 2}, {"train": TrainConfig(steps=14, batch_size=4, accumulate=2)}]
    )
    def test_each_sample_has_its_own(self, told, settings):
        found = self.pairs(opened(told, captions=True, **{"steps": 14, **settings}))
        assert len(found) == 56
        assert set(found) == {(number, f"number {number}") for number in (0, 1, 3, 4, 6)}

    def test_a_picture_without_one_is_skipped_and_counted(self, told, caplog):
        batches = opened(told, captions=True, steps=14)
        list(batches)
        assert sorted(key for key, _ in batches.skipped.pictures) == ["2.png", "5.png"]
        assert "2.png: has no caption" in caplog.text

    def test_there_are_none_unless_asked_for(self, told):
        batches = opened(told)
        assert {part.captions for parts in batches for part in parts} == {None}
        assert len(batches.skipped) == 0

    def test_the_other_samples_stay_as_they_are_without(self, told):
        for with_them, without in zip(images(opened(told, captions=True))[0], images(opened(told))[0], strict=True):
            assert torch.equal(with_them, without) or number_of(without) in (2, 5)

    def test_overfitting_has_them_too(self, told):
        config = DataConfig(path=str(told), crop_size=SIZE, captions=True)
        found = set(self.pairs(open_batches(config, TrainConfig(steps=3, batch_size=4), 0, overfit=4)))
        assert 2 <= len(found) <= 4
        assert all(caption == f"number {number}" for number, caption in found)

    def test_the_training_part_has_them_and_measuring_does_without(self, tmp_path):
        for number in range(60):
            write_picture(tmp_path / f"{number}.png", picture(number))
            if not is_held_out(f"{number}.png"):
                (tmp_path / f"{number}.txt").write_text("told")
        config = DataConfig(path=str(tmp_path), crop_size=SIZE, captions=True, split="train")
        ((batch,),) = open_batches(config, TrainConfig(steps=1, batch_size=60), 0)
        assert batch.captions == ("told",) * 60
        assert len(held_out_crops(config, 100)) == sum(is_held_out(f"{number}.png") for number in range(60))

    def test_none_at_all_is_an_error_of_one_line_before_any_picture_is_read(self, folder):
        (folder / "0.png").write_bytes(b"junk")
        with pytest.raises(DataError, match=r"data\.captions is true, but no picture has a caption") as caught:
            open_pictures(DataConfig(path=str(folder), captions=True), 0)
        assert "\n" not in str(caught.value)

    def test_pictures_for_a_start_need_none(self, told):
        assert len(list(open_pictures(DataConfig(path=str(told), captions=True), 0))) == 7


class _Deadly:
    name, class_names = "deadly", None

    def __len__(self) -> int:
        return 3

    def key(self, index: int) -> str:
        return str(index)

    def __getitem__(self, index: int) -> None:
        os._exit(1)


def test_a_worker_that_dies_is_an_error_that_says_what_to_do(monkeypatch, folder):
    monkeypatch.setattr("vtok.train.samples.batches.open_data", lambda *_: _Deadly())
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)  # seconds between looks at the workers
    with pytest.raises(DataError, match=r"killed.*lower data\.workers"):
        list(opened(folder, workers=1))


def test_a_pass_that_was_left_ends_its_workers(folder):
    batches = opened(folder, workers=1)
    next(iter(batches))
    assert not multiprocessing.active_children()
    steps = iter(batches)
    next(steps)
    assert multiprocessing.active_children()
    batches.close()
    assert not multiprocessing.active_children()
    with pytest.raises(ValueError, match="closed"):
        next(steps)


def test_an_error_ends_the_workers_while_it_is_still_looked_at(folder):
    for number in range(7):
        (folder / f"{number}.png").write_bytes(b"junk")
    with pytest.raises(DataError):
        list(opened(folder, workers=1))
    assert not multiprocessing.active_children()


def test_a_second_pass_beside_the_first_is_refused(folder):
    batches = opened(folder)
    first = iter(batches)
    next(first)
    with pytest.raises(ValueError, match="one at a time"):
        next(iter(batches))
    assert next(first)[0].step == 1


def test_waiting_is_measured(folder):
    batches = opened(folder)
    assert batches.wait_s == 0
    list(batches)
    assert 0 < batches.wait_s < 10


class TestOverfitting:
    def crops(self, folder: Path, num: int, **data) -> torch.Tensor:
        config = DataConfig(path=str(folder), crop_size=SIZE, **data)
        return images(open_batches(config, TrainConfig(steps=8, batch_size=4), 0, overfit=num)).flatten(0, 1)

    def test_the_first_pictures_of_the_order_are_shown_again_and_again_from_the_middle(self, folder):
        shown = [number_of(image) for image in self.crops(folder, 3)]
        assert set(shown) == {number_of(image) for image in images(opened(folder)).flatten(0, 1)[:3]}
        assert all(shown.count(number) >= 10 for number in set(shown))
        for image in self.crops(folder, 3):
            middle = picture(number_of(image))[4:20, 12:28]
            assert torch.equal(image, from_eight_bit(middle)[0])

    def test_more_than_there_are_means_all(self, folder):
        assert {number_of(image) for image in self.crops(folder, 100)} == set(range(7))


def write_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for number in range(3):
            info, data = tarfile.TarInfo(f"{number}.png"), encode_png(picture(number))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def write_table(path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"image": [encode_png(picture(number)) for number in range(3)]}), path)


@pytest.mark.parametrize(("file", "write"), [("a.tar", write_tar), ("a.parquet", write_table)])
def test_tars_and_tables_are_read_too_also_by_workers(tmp_path, file, write):
    write(tmp_path / file)
    expected = images(opened(tmp_path, steps=3))
    assert {number_of(image) for image in expected.flatten(0, 1)} == {0, 1, 2}
    assert torch.equal(images(opened(tmp_path, steps=3, workers=1)), expected)


def test_synthetic_pictures_need_no_path_and_follow_the_seed():
    config, train = DataConfig(kind="synthetic", num_synthetic=4, crop_size=SIZE), TrainConfig(steps=2)
    first, again, other = (images(open_batches(config, train, seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_reads_goes_to_another_process(folder):
    samples = opened(folder)._samples
    assert torch.equal(pickle.loads(pickle.dumps(samples)).__getitems__([1, 2]).pixels, samples.__getitems__([1, 2]).pixels)


def test_a_wrong_batch_size_and_a_missing_path_are_found_before_any_step(folder):
    with pytest.raises(ConfigError, match=r"train\.batch_size 4"):
        opened(folder, train=TrainConfig(steps=6, batch_size=4, accumulate=3))
    with pytest.raises(ConfigError, match=r"data\.path is empty"):
        open_batches(DataConfig(), TrainConfig(steps=1), 0)


@pytest.mark.parametrize("scales", [(0, 1), (2, 1), (1, 17)])
def test_scales_that_make_no_sense_are_refused(scales):
    with pytest.raises(ValueError, match="smallest, then largest"):
        DataConfig(scales=scales)
