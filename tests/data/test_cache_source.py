"""Caches of latents as data sets, also damaged and hostile ones."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from vtok.data.sources import is_held_out, open_source
from vtok.data.sources.cache import CacheSource
from vtok.data.sources.cache_format import CacheSettings, Variant, tensor_name
from vtok.data.sources.cache_names import MANIFEST, METADATA, shard_name
from vtok.errors import DataError

VARIANTS = (Variant(scale=1), Variant(scale=0.5))
NUM_SHARDS, NUM_IN_A_SHARD = 2, 3


def cache_settings(**changed: Any) -> CacheSettings:
    values = {
        "source": "pictures",
        "num_pictures": NUM_SHARDS * NUM_IN_A_SHARD,
        "pictures_digest": "ab",
        "autoencoder": {"kind": "toy"},
        "autoencoder_digest": "cd",
        "downsample": 4,
        "channels": 2,
        "max_side": 0,
        "variants": VARIANTS,
    }
    return CacheSettings.model_validate(values | changed)


def tensors_of(number: int, *, rows: int = 5, cols: int = 7) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    found: dict[str, np.ndarray] = {}
    for variant in VARIANTS:
        h, w = int(rows * variant.scale), int(cols * variant.scale)
        found[tensor_name(f"deep/{number}.png", variant, "pixels")] = rng.integers(0, 256, (4 * h, 4 * w, 3), dtype=np.uint8)
        found[tensor_name(f"deep/{number}.png", variant, "latents")] = rng.random((2, h, w)).astype(np.float16)
    return found


def write_shard(file: Path, numbers: range, tensors: dict[str, np.ndarray], **info: Any) -> None:
    values = {"settings": cache_settings().digest, "start": numbers.start, "stop": numbers.stop}
    values |= {"keys": [f"deep/{number}.png" for number in numbers], "skipped": []}
    save_file(tensors, file, {METADATA: json.dumps(values | info)})


def write_manifest(folder: Path, **changed: Any) -> None:
    shards = [{"file": shard_name(NUM_IN_A_SHARD * shard), "num_pictures": NUM_IN_A_SHARD} for shard in range(NUM_SHARDS)]
    values = {"vtok_cache": 1, "complete": True, "settings": cache_settings().model_dump(mode="json"), "shards": shards, "skipped": []}
    (folder / MANIFEST).write_text(json.dumps(values | changed))


def write_cache(folder: Path) -> None:
    for shard in range(NUM_SHARDS):
        numbers = range(NUM_IN_A_SHARD * shard, NUM_IN_A_SHARD * (shard + 1))
        write_shard(folder / shard_name(numbers.start), numbers, {k: v for number in numbers for k, v in tensors_of(number).items()})
    write_manifest(folder)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    write_cache(tmp_path)
    return tmp_path


def test_a_folder_with_a_manifest_is_a_cache_and_its_largest_pixels_are_its_pictures(cache):
    source = open_source(cache)
    assert isinstance(source, CacheSource)
    assert [source.key(index) for index in range(len(source))] == [f"deep/{number}.png" for number in range(6)]
    for index in (4, 0, 5):
        assert np.array_equal(source[index].pixels, tensors_of(index)[f"1/pixels/deep/{index}.png"])
        assert source[index].key == source.key(index)
    with pytest.raises(IndexError):
        source[6]


@pytest.mark.parametrize("variant", [0, 1])
def test_a_crop_is_the_same_place_of_pixels_and_latents(cache, variant):
    source = CacheSource(cache, name="cache")
    stored = source.stored(3)[variant]
    pixels, latents = source.crop(3, stored, (1, 2), (1, 1))
    tensors = tensors_of(3)
    assert np.array_equal(pixels, tensors[f"{stored.variant.name}/pixels/deep/3.png"][4:8, 8:12])
    assert np.array_equal(latents, tensors[f"{stored.variant.name}/latents/deep/3.png"][:, 1:2, 2:3])


def test_the_split_goes_by_the_file_name_of_the_picture(tmp_path):
    numbers = range(60)
    write_shard(tmp_path / shard_name(0), numbers, {k: v for number in numbers for k, v in tensors_of(number, rows=2, cols=2).items()})
    write_manifest(tmp_path, shards=[{"file": shard_name(0), "num_pictures": 60}])
    held_out, train = (open_source(tmp_path, kind="cache", split=split) for split in ("held_out", "train"))
    assert [held_out.key(index) for index in range(len(held_out))] == [f"deep/{n}.png" for n in numbers if is_held_out(f"{n}.png")]
    assert len(held_out) + len(train) == 60
    assert np.array_equal(held_out[0].pixels, tensors_of(int(held_out.key(0)[5:-4]), rows=2, cols=2)[f"1/pixels/{held_out.key(0)}"])


def test_it_goes_to_another_process(cache):
    source = open_source(cache)
    before = source[2].pixels
    assert np.array_equal(pickle.loads(pickle.dumps(source))[2].pixels, before)


def test_few_shards_are_open_at_a_time(cache, monkeypatch):
    monkeypatch.setattr("vtok.data.sources.cache._MOST_OPEN", 1)
    source = CacheSource(cache, name="cache")
    for index in (0, 5, 0):
        assert np.array_equal(source[index].pixels, tensors_of(index)[f"1/pixels/deep/{index}.png"])
    assert len(source._open) == 1


def test_a_folder_without_a_manifest_is_no_cache(tmp_path):
    with pytest.raises(DataError, match=r"no vtok_cache\.json; make one with vtok cache-latents"):
        open_source(tmp_path, kind="cache")


def hostile(cache: Path, changed: dict[str, Any]) -> str:
    write_manifest(cache, **changed)
    with pytest.raises(DataError) as caught:
        open_source(cache)
    assert str(cache) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"vtok_cache": 2}, "vtok_cache"),
        ({"complete": False}, "not finished"),
        ({"shards": [{"file": "../../etc/passwd", "num_pictures": 1}]}, "shards.0.file"),
        ({"shards": [{"file": shard_name(0), "num_pictures": 10**12}]}, "belongs to another cache"),
        ({"shards": [{"file": shard_name(99), "num_pictures": 3}]}, "shard-00000099"),
        ({"shards": []}, "no picture"),
        ({"settings": cache_settings(downsample=8).model_dump(mode="json")}, "belongs to another cache"),
        ({"settings": cache_settings().model_dump(mode="json") | {"downsample": 0}}, "settings.downsample"),
        ({"settings": cache_settings().model_dump(mode="json") | {"variants": []}}, "settings.variants"),
        ({"extra": 1}, "extra"),
        ({"skipped": "all"}, "skipped"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_one_line_that_says_what(cache, changed, words):
    assert words in hostile(cache, changed)


@pytest.mark.parametrize("text", [b"", b"[" * 100_000, b"\xff\xfe", b"null", b'{"vtok_cache": "\\ud800"}'])
def test_a_manifest_that_is_no_json_is_named(cache, text):
    (cache / MANIFEST).write_bytes(text)
    with pytest.raises(DataError, match=r"vtok_cache\.json: not what vtok cache-latents writes"):
        open_source(cache)


def test_a_source_name_may_change_without_unbinding_the_shards(cache):
    write_manifest(cache, settings=cache_settings(source="moved").model_dump(mode="json"))
    assert len(open_source(cache)) == 6


def reshaped(kind: str, array: np.ndarray) -> dict[str, np.ndarray]:
    return tensors_of(0) | {f"1/{kind}/deep/0.png": array}


@pytest.mark.parametrize(
    "tensors",
    [
        reshaped("pixels", np.zeros((20, 24, 3), np.uint8)),
        reshaped("pixels", np.zeros((21, 28, 3), np.uint8)),
        reshaped("pixels", np.zeros((20, 28), np.uint8)),
        reshaped("pixels", np.zeros((20, 28, 3), np.int8)),
        reshaped("pixels", np.zeros((0, 0, 3), np.uint8)),
        reshaped("latents", np.zeros((2, 5, 7), np.float32)),
        reshaped("latents", np.zeros((3, 5, 7), np.float16)),
        reshaped("latents", np.zeros((), np.float16)),
    ],
)
def test_tensors_that_do_not_fit_together_are_named(cache, tensors):
    write_shard(cache / shard_name(0), range(1), tensors)
    write_manifest(cache, shards=[{"file": shard_name(0), "num_pictures": 1}])
    with pytest.raises(DataError, match=r"shard-00000000\.safetensors: pixels and latents of 'deep/0\.png' do not fit together"):
        open_source(cache)


def test_a_shard_without_what_it_lists_and_one_without_metadata_are_named(cache):
    write_shard(cache / shard_name(0), range(3), tensors_of(0))
    with pytest.raises(DataError, match=r"lacks the picture 'deep/1\.png' that it lists"):
        open_source(cache)
    save_file(tensors_of(0), cache / shard_name(0))
    with pytest.raises(DataError, match="not a shard of a cache"):
        open_source(cache)


def test_a_shard_that_changed_after_it_was_opened_is_named(cache):
    source = open_source(cache)
    write_shard(cache / shard_name(0), range(3), {"other": np.zeros(3, np.uint8)})
    with pytest.raises(DataError, match=r"shard-00000000\.safetensors: changed while it was read"):
        source[0]
    (cache / shard_name(3)).unlink()
    with pytest.raises(DataError, match=r"shard-00000003\.safetensors: not a whole shard"):
        source[3]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_damaged_bytes_give_samples_or_one_of_our_errors(cache, data):
    write_cache(cache)
    file = cache / data.draw(st.sampled_from([MANIFEST, shard_name(0)]))
    content = bytearray(file.read_bytes())
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), min_size=1, max_size=4)):
        content[min(place, len(content) - 1)] = value
    file.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) - 1, 100]))])
    try:
        source = open_source(cache)
        outcome = str([source[index].pixels.shape for index in range(len(source))])
    except DataError as error:
        outcome = str(error)
    assert "\n" not in outcome
