"""Checkpoints on disk: whole or not there, damaged ones passed over."""

import json
import logging

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vtok.errors import TrainingError
from vtok.train.engine.checkpoint import FACTS, TENSORS, Checkpoint, last_whole, newest, read, save


def a_checkpoint(step):
    return Checkpoint(
        step, {"weights.a": torch.full((3, 2), float(step)), "random.0.cpu": torch.arange(4, dtype=torch.uint8)}, {"best": 0.5}
    )


@pytest.fixture
def folder(tmp_path):
    for step in (5, 10, 15):
        save(tmp_path, a_checkpoint(step), keep=3)
    return tmp_path


def test_it_comes_back_as_it_was(tmp_path):
    save(tmp_path, a_checkpoint(7), keep=1)
    back = last_whole(tmp_path)
    assert back is not None
    assert (back.step, back.facts) == (7, {"best": 0.5})
    assert back.tensors.keys() == a_checkpoint(7).tensors.keys()
    assert all(torch.equal(value, a_checkpoint(7).tensors[name]) for name, value in back.tensors.items())


def test_only_the_newest_are_kept(folder):
    save(folder, a_checkpoint(120), keep=2)
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000015", "step-00000120"]


def test_nothing_is_there_before_the_first(tmp_path):
    assert last_whole(tmp_path) is None
    assert newest(tmp_path) is None


@given(st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example writes the whole file anew
def test_one_changed_byte_anywhere_is_noticed(folder, data):
    path = folder / "step-00000015" / TENSORS
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    try:
        assert last_whole(folder).step == 10
    finally:
        path.parent.with_name("step-00000015.damaged").rename(path.parent)
        path.write_bytes(whole)


@pytest.mark.parametrize("file", [TENSORS, FACTS])
@pytest.mark.parametrize("harm", ["cut", "gone", "empty"])
def test_a_damaged_one_is_named_and_the_one_before_taken(folder, caplog, file, harm):
    path = folder / "step-00000015" / file
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(b"" if harm == "empty" else path.read_bytes()[:-5])
    with caplog.at_level(logging.WARNING):
        assert last_whole(folder).step == 10
    assert len(caplog.records) == 1
    assert newest(folder).name == "step-00000010"
    assert (folder / "step-00000015.damaged").is_dir()
    assert "step-00000015" in caplog.text


def test_one_of_a_newer_version_is_not_read(folder):
    path = folder / "step-00000015" / FACTS
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vtok": 2}))
    assert last_whole(folder).step == 10


def test_only_damaged_ones_are_an_error(folder):
    for path in folder.glob(f"*/{TENSORS}"):
        path.write_bytes(b"")
    with pytest.raises(TrainingError, match="none of 3 checkpoints"):
        last_whole(folder)


def test_a_half_written_one_does_not_count(folder):
    half = folder / "step-00000020.123.part"
    half.mkdir()
    (half / TENSORS).write_bytes(b"half")
    assert newest(folder).name == "step-00000015"
    assert last_whole(folder).step == 15


def test_one_that_another_process_does_not_see_is_an_error(folder):
    assert read(folder, 10).step == 10
    with pytest.raises(TrainingError, match="same folder"):
        read(folder, 11)
