"""A run that was cut off goes on as if it had not been."""

import logging
import shutil
import subprocess
import sys

import pytest
import torch

from tests.conftest import CHECKOUT
from tests.train.toy import KILL_AT, STOP_AT, TABLE, entries, tensors, toy_config
from vtok.errors import ConfigError
from vtok.train.engine.stop import StoppedError
from vtok.train.loop import run

SETTINGS = {"validation": {"every": 6, "num_pictures": 2, "lengths": [1, 0]}, "toy": {"dropout": 0.2, "critic_from": 6}, "accumulate": 2}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The folder of a run in one go, with dropout from the global generator and a group that begins late."""
    return run(toy_config(**SETTINGS), TABLE, tmp_path_factory.mktemp("runs") / "unbroken")


def assert_same(folder, other):
    """Every tensor of the last checkpoint, the models and the log are the same to the last bit."""
    found, expected = tensors(folder, 12), tensors(other, 12)
    assert found.keys() == expected.keys()
    assert [name for name, value in found.items() if not torch.equal(value, expected[name])] == []
    for model in (".", "best"):
        assert (folder / model / "model.safetensors").read_bytes() == (other / model / "model.safetensors").read_bytes()
    assert entries(folder) == entries(other)


def test_a_killed_run_goes_on_to_the_same_weights(unbroken, tmp_path, monkeypatch):
    config = toy_config(**SETTINGS)
    monkeypatch.setenv(KILL_AT, "7")
    command = [sys.executable, "-m", "tests.train.toy", str(tmp_path / "run"), config.model_dump_json()]
    killed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000004"]
    monkeypatch.delenv(KILL_AT)
    run(config, TABLE, tmp_path / "run")
    assert_same(tmp_path / "run", unbroken)


@pytest.mark.parametrize("step", [1, 5, 6])
def test_a_run_that_is_asked_to_stop_goes_on_to_the_same_weights(unbroken, tmp_path, monkeypatch, step):
    monkeypatch.setenv(STOP_AT, str(step))
    with pytest.raises(StoppedError, match=f"stopped after step {step} of 12; the same command goes on"):
        run(toy_config(**SETTINGS), TABLE, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / f"step-{step:08d}").is_dir()
    run(toy_config(**SETTINGS), TABLE, tmp_path / "run")
    assert_same(tmp_path / "run", unbroken)


def test_a_stop_at_the_last_step_is_none(unbroken, tmp_path, monkeypatch):
    monkeypatch.setenv(STOP_AT, "12")
    run(toy_config(**SETTINGS), TABLE, tmp_path / "run")
    assert_same(tmp_path / "run", unbroken)


def test_a_damaged_checkpoint_is_passed_over(unbroken, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(STOP_AT, "10")
    with pytest.raises(StoppedError):
        run(toy_config(**SETTINGS), TABLE, tmp_path / "run")
    damaged = tmp_path / "run" / "checkpoints" / "step-00000010" / "state.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    monkeypatch.delenv(STOP_AT)
    with caplog.at_level(logging.WARNING):
        run(toy_config(**SETTINGS), TABLE, tmp_path / "run")
    (told,) = (line for line in caplog.messages if "damaged" in line)
    assert told.startswith(f"{damaged.parent} is damaged (state.safetensors has a wrong checksum)")
    assert_same(tmp_path / "run", unbroken)


def test_lines_of_the_log_after_the_checkpoint_are_written_anew(unbroken, tmp_path, monkeypatch):
    monkeypatch.setenv(STOP_AT, "4")
    with pytest.raises(StoppedError):
        run(toy_config(**SETTINGS), TABLE, tmp_path / "run")
    with (tmp_path / "run" / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "loss": {"tokenizer/pixels": 1.0}}\n{"step": 9, "lo')
    run(toy_config(**SETTINGS), TABLE, tmp_path / "run")
    assert_same(tmp_path / "run", unbroken)


def test_the_best_model_stays_the_best(tmp_path, monkeypatch):
    """A rate far too high makes all later steps worse than the first ones."""
    config = toy_config(steps=8, ema=0, toy={"learning_rate": 1.0}, validation={"every": 1, "num_pictures": 2, "lengths": [0]})
    monkeypatch.setenv(STOP_AT, "5")
    with pytest.raises(StoppedError):
        run(config, TABLE, tmp_path / "run")
    best = (tmp_path / "run" / "best" / "model.safetensors").read_bytes()
    run(config, TABLE, tmp_path / "run")
    scores = [entry["validation"]["psnr"]["8"] for entry in entries(tmp_path / "run") if "validation" in entry]
    assert scores.index(max(scores)) < 5
    assert (tmp_path / "run" / "best" / "model.safetensors").read_bytes() == best


def test_what_a_killed_process_left_half_written_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv(STOP_AT, "4")
    with pytest.raises(StoppedError):
        run(toy_config(), TABLE, tmp_path / "run")
    halves = [tmp_path / "run" / name for name in ("run.12.part", "checkpoints/step-00000008.12.part", "start/start.12.part")]
    for half in halves:
        half.mkdir()
        (half / "model.safetensors").write_bytes(b"half")
    run(toy_config(), TABLE, tmp_path / "run")
    assert not any(half.exists() for half in halves)


def test_settings_of_the_steps_may_change_while_none_is_saved(tmp_path):
    wrong = toy_config(validation={"every": 4, "lengths": [9]})
    with pytest.raises(ConfigError, match="9 tokens do not decode"):
        run(wrong, TABLE, tmp_path / "run")
    before = (tmp_path / "run" / "start" / "model.safetensors").stat().st_mtime_ns
    run(toy_config(validation={"every": 4, "lengths": [8]}, batch_size=2), TABLE, tmp_path / "run")
    assert (tmp_path / "run" / "start" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match=r"data\.num_synthetic"):
        run(toy_config(data={"num_synthetic": 9}), TABLE, tmp_path / "run")


def test_more_steps_go_on_from_the_last(tmp_path, caplog):
    run(toy_config(), TABLE, tmp_path / "run")
    first = entries(tmp_path / "run")
    with caplog.at_level(logging.INFO):
        run(toy_config(steps=15), TABLE, tmp_path / "run")
    assert "going on after step 12 of 15" in caplog.text
    assert entries(tmp_path / "run")[: len(first)] == first
    assert [entry["step"] for entry in entries(tmp_path / "run")] == [3, 6, 9, 12, 15]


def test_fewer_steps_end_the_run_earlier_unless_they_are_passed(tmp_path, monkeypatch):
    monkeypatch.setenv(STOP_AT, "5")
    with pytest.raises(StoppedError):
        run(toy_config(), TABLE, tmp_path / "run")
    monkeypatch.delenv(STOP_AT)
    with pytest.raises(ConfigError, match=r"train\.steps = 12, this one has 4"):
        run(toy_config(steps=4), TABLE, tmp_path / "run")
    run(toy_config(steps=7), TABLE, tmp_path / "run")
    assert entries(tmp_path / "run")[-1]["step"] == 7


def test_a_checkpoint_is_written_when_the_last_one_is_old(tmp_path):
    run(toy_config(checkpoint_every=100, checkpoint_minutes=1e-9, keep=100), TABLE, tmp_path / "run")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 12


def test_a_run_without_a_checkpoint_begins_again_from_its_start(unbroken, tmp_path, monkeypatch):
    monkeypatch.setenv(STOP_AT, "3")
    with pytest.raises(StoppedError):
        run(toy_config(**SETTINGS), TABLE, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    monkeypatch.delenv(STOP_AT)
    before = (tmp_path / "run" / "start" / "model.safetensors").stat().st_mtime_ns
    run(toy_config(**SETTINGS), TABLE, tmp_path / "run")
    assert (tmp_path / "run" / "start" / "model.safetensors").stat().st_mtime_ns == before
    assert_same(tmp_path / "run", unbroken)
