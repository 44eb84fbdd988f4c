"""Data sets of pictures to shards of strings: what is in them, whoever makes them, and however often the work is stopped."""

import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.generate.conftest import bytes_of
from vtok.data.eight_bit import from_eight_bit
from vtok.data.pictures import read_picture
from vtok.data.token_shards.format import MANIFEST, id_type, read_manifest
from vtok.data.token_shards.memory import MEMORY, open_strings
from vtok.data.token_shards.shard import read_facts, read_strings
from vtok.data.views import middle, random_view, seen
from vtok.errors import ConfigError, DataError, OutputError


def test_a_string_is_that_of_its_view(strings, album, job_of, tmp_path):
    _, tokenizer = job_of(tmp_path)
    table = pq.read_table(strings / "tokens-00001.parquet").to_pylist()
    facts, rows = read_facts(strings / "tokens-00001.parquet")
    keys, ids, lengths, classes = read_strings(strings / "tokens-00001.parquet", facts)
    assert rows == len(table) == len(keys) == 24
    for row in (0, 4, 23):
        told = table[row]
        top, left, height, width = told["box"]
        whole = read_picture(album / told["key"])
        assert told["size"] == list(whole.shape[:2])
        size = tokenizer.spec.input_size
        view = middle(whole.shape[:2], size)
        if told["view"]:
            view = random_view(whole.shape[:2], size, least_scale=0.8, mirror=True, seed=0, key=told["key"], number=told["view"])
        np.testing.assert_allclose([top, left, height, width], [view.top, view.left, view.height, view.width], rtol=1e-6)
        assert told["mirrored"] == view.mirrored
        expected = tokenizer.encode(from_eight_bit(seen(whole, view, size))).ids[0].numpy()
        assert np.array_equal(ids[row], expected)
        assert told["class"] == classes[row] == int(told["key"][5])
    assert ids.dtype == np.uint8
    assert set(lengths) == {tokenizer.spec.max_tokens}


def test_captions_and_class_names_are_carried(strings):
    captions = [row["caption"] for row in pq.read_table(strings / "tokens-00000.parquet").to_pylist()]
    assert [caption for caption in captions if caption] == ["a wave"] * 3
    assert read_manifest(strings).settings.class_names == ("class0", "class1", "class2")


def test_two_processes_make_the_files_of_one(strings, job_of, tmp_path):
    job, tokenizer = job_of(tmp_path / "both")
    job.check_folder()
    list(job.run(range(1, 4, 2), tokenizer))
    assert job.finish() is None
    list(job.run(range(0, 4, 2), tokenizer))
    assert job.finish() is not None
    assert bytes_of(tmp_path / "both") == bytes_of(strings)


def test_finished_shards_are_left_alone_and_damaged_ones_made_anew(strings, job_of, tmp_path):
    job, tokenizer = job_of(tmp_path)
    list(job.run(range(4), tokenizer))
    (tmp_path / "tokens-00002.parquet").write_bytes(b"half")
    (tmp_path / "tokens-00003.parquet").unlink()
    done = list(job.run(range(4), tokenizer))
    assert [shard.rates is None for shard in done] == [True, True, False, False]
    job.finish()
    assert bytes_of(tmp_path) == bytes_of(strings)


def test_shards_of_other_settings_are_not_mixed(strings, job_of):
    job, _ = job_of(strings, seed=1)
    with pytest.raises(ConfigError, match="seed = 0, asked is 1"):
        job.found(0)
    job, _ = job_of(strings, part_size=10)
    with pytest.raises(ConfigError, match="num_shards = 4, asked is 3"):
        job.finish()


def test_a_folder_that_holds_other_things_is_refused(job_of, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds notes\.txt"):
        job_of(tmp_path)[0].check_folder()


def test_classes_by_folder_need_folders(job_of, monkeypatch, tmp_path):
    monkeypatch.setattr("vtok.data.sources.open.Part.paths", property(lambda _: ("a.png",)))
    with pytest.raises(DataError, match=r"a\.png: lies in no folder"):
        job_of(tmp_path)


@pytest.mark.parametrize(("sizes", "expected"), [((16,), "uint8"), ((256, 4), "uint8"), ((257,), "uint16"), ((2**16 + 1,), "uint32")])
def test_ids_are_kept_in_the_smallest_type(sizes, expected):
    assert id_type(sizes) == expected


def test_strings_are_mapped_from_arrays_that_are_made_once(strings):
    found = open_strings(strings)
    assert (found.ids.shape, found.ids.dtype) == ((90, 8 if found.settings.num_tokens == 8 else found.settings.num_tokens, 1), np.uint8)
    before = {path.name: path.stat().st_mtime_ns for path in (strings / MEMORY).iterdir()}
    again = open_strings(strings)
    assert {path.name: path.stat().st_mtime_ns for path in (strings / MEMORY).iterdir()} == before
    assert np.array_equal(again.ids, found.ids)
    assert sorted(set(found.classes.tolist())) == [0, 1, 2]


def _copied(strings, folder):
    for name, data in bytes_of(strings).items():
        (folder / name).write_bytes(data)
    return folder


def _rewritten(folder, **columns):
    """A shard with other columns, which the manifest knows of."""
    file = folder / "tokens-00001.parquet"
    table = pq.read_table(file)
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, table.schema.field(name).type))
    pq.write_table(table, file)
    import hashlib

    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["shards"][1]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_data_sets_that_are_not_whole_are_refused(strings, tmp_path):
    with pytest.raises(DataError, match=r"no finished token shards, it has no tokens\.json"):
        open_strings(tmp_path)
    folder = _copied(strings, tmp_path)
    (folder / "tokens-00001.parquet").write_bytes((folder / "tokens-00001.parquet").read_bytes()[:-9])
    with pytest.raises(DataError, match=r"tokens-00001\.parquet: another one than tokens\.json says"):
        open_strings(folder)
    (folder / "tokens-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"tokens-00001\.parquet: cannot be read"):
        open_strings(folder)
    (folder / MANIFEST).write_text('{"vtok_tokens": 2}')
    with pytest.raises(DataError, match="not what vtok tokenize writes"):
        open_strings(folder)


def test_ids_that_no_codebook_has_are_refused(strings, tmp_path):
    folder = _copied(strings, tmp_path)
    width = open_strings(strings).settings.num_tokens
    _rewritten(folder, ids=[[200] * width] * 24)
    with pytest.raises(DataError, match=r"tokens-00001\.parquet: holds the id 200, which no codebook of 16 codes has"):
        open_strings(folder)


def test_lengths_that_no_string_has_are_refused(strings, tmp_path):
    folder = _copied(strings, tmp_path)
    _rewritten(folder, length=[99] * 24)
    with pytest.raises(DataError, match="lengths are 1 to"):
        open_strings(folder)


@pytest.mark.parametrize("num_kills", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_work_that_is_killed_again_and_again_ends_with_the_same_manifest(num_kills, album, tiny, tmp_path):
    """Killed at random moments from its start to the end of its work."""
    command = [sys.executable, "-m", "vtok", "tokenize", str(album), "--model", str(tiny), "--views", "3", "--shard-size", "2", "-q"]
    start = time.monotonic()
    subprocess.run([*command, "-o", str(tmp_path / "whole")], check=True, capture_output=True)
    whole_s, draw = time.monotonic() - start, random.Random(0)
    output, kills = tmp_path / "killed", 0
    for _ in range(50 * num_kills):
        with subprocess.Popen([*command, "-o", str(output)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(draw.uniform(0.3, 1.05) * whole_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
        if kills == num_kills:
            break
        if (output / MANIFEST).exists():  # it had time to finish: begin again
            for path in output.iterdir():
                path.unlink()
    assert kills == num_kills
    subprocess.run([*command, "-o", str(output)], check=True, capture_output=True)
    assert (output / MANIFEST).read_bytes() == (tmp_path / "whole" / MANIFEST).read_bytes()
    assert {name: data for name, data in bytes_of(output).items() if not name.endswith(".part")} == bytes_of(tmp_path / "whole")


def test_a_ray_cluster_makes_the_same_shards(strings, job_of, tmp_path):
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    from vtok.generate.tokenize.ray_tasks import run_on_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        job, _ = job_of(tmp_path)
        assert len(list(run_on_ray(job, range(4), "cpu"))) == 4
        job.finish()
    finally:
        ray.shutdown()
    assert bytes_of(tmp_path) == bytes_of(strings)


def test_views_lie_in_the_picture_and_depend_on_their_place_alone():
    for number in range(1, 40):
        view = random_view((30, 47), (16, 16), least_scale=0.5, mirror=True, seed=3, key="a/b.png", number=number)
        assert 0 <= view.top <= 30 - view.height + 1e-9
        assert 0 <= view.left <= 47 - view.width + 1e-9
        assert 15 <= view.height == view.width <= 30
        assert view == random_view((30, 47), (16, 16), least_scale=0.5, mirror=True, seed=3, key="a/b.png", number=number)
    turned = [random_view((9, 9), (4, 4), least_scale=1, mirror=True, seed=0, key=str(i), number=1).mirrored for i in range(200)]
    assert 70 < sum(turned) < 130
    assert not torch.tensor(turned).all()
