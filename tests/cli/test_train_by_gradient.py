"""`vtok train` with gradient steps: what is said, exit codes, going on."""

import json
import logging

import pytest

from tests.train.toy import FAMILY, STOP_AT, TABLE
from vtok.tokenizers.registry import ALL
from vtok.train import objectives

RECIPE = """
objective = "toy"
threads = 1
[data]
kind = "synthetic"
num_synthetic = 8
crop_size = 32
[train]
steps = 8
batch_size = 4
log_every = 2
checkpoint_every = 4
trackers = []
"""


@pytest.fixture(autouse=True)
def _toy_objective(monkeypatch):
    monkeypatch.setitem(objectives.TABLE, "toy", TABLE["toy"])
    monkeypatch.setitem(ALL, "toy", FAMILY["toy"])


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


def test_the_model_of_a_run_shows_a_comparison(vtok, recipe, photo, tmp_path):
    result = vtok("train", recipe, "-o", tmp_path / "run")
    assert (result.code, result.out.decode()) == (0, f"{tmp_path / 'run'}\n")
    assert "step 8 of 8" in result.err
    assert "images/s" in result.err
    assert vtok("compare", photo, "-o", tmp_path / "compare.png", "--model", tmp_path / "run").code == 0


def test_quiet_says_only_where_the_model_is(vtok, recipe, tmp_path):
    result = vtok("train", recipe, "-o", tmp_path / "run", "--quiet")
    assert (result.code, result.out.decode(), result.err) == (0, f"{tmp_path / 'run'}\n", "")


def test_a_finished_run_is_said_to_be_so(vtok, recipe, tmp_path):
    vtok("train", recipe, "-o", tmp_path / "run")
    result = vtok("train", recipe, "-o", tmp_path / "run")
    assert result.code == 0
    assert "is finished: 8 steps" in result.line


def test_a_stop_leaves_with_130_and_says_how_to_go_on(vtok, recipe, tmp_path, monkeypatch):
    monkeypatch.setenv(STOP_AT, "3")
    result = vtok("train", recipe, "-o", tmp_path / "run", "--quiet")
    assert (result.code, result.out) == (130, b"")
    assert "stopped after step 3 of 8; the same command goes on from there" in result.line
    again = vtok("train", recipe, "-o", tmp_path / "run")
    assert again.code == 0
    assert "going on after step 3 of 8" in again.err


def test_a_loss_that_is_no_number_is_one_line(vtok, recipe, tmp_path):
    result = vtok("train", recipe, "-o", tmp_path / "run", "--quiet", "--set", "toy.nan_at=5")
    assert result.code == 2
    assert "step 6: tokenizer/pixels is nan" in result.line
    assert "step-00000004" in result.line


def test_another_configuration_is_one_line(vtok, recipe, tmp_path):
    vtok("train", recipe, "-o", tmp_path / "run")
    result = vtok("train", recipe, "-o", tmp_path / "run", "--set", "train.batch_size=2")
    assert result.code == 2
    assert "train.batch_size = 4, this one has 2" in result.line


def test_overfit_tells_the_gain_and_is_part_of_the_run(vtok, recipe, tmp_path):
    result = vtok("train", recipe, "-o", tmp_path / "run", "--overfit", 2)
    assert result.code == 0
    assert "PSNR of the 2 pictures at all tokens" in result.err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["train"]["overfit"] == 2
    assert "train.overfit = 2, this one has 0" in vtok("train", recipe, "-o", tmp_path / "run").line


def test_a_missing_logger_is_one_line_with_its_install_line(vtok, recipe, tmp_path):
    result = vtok("train", recipe, "-o", tmp_path / "run", "--set", 'train.trackers=["aim"]')
    assert result.code == 2
    assert "pip install" in result.line


def test_only_the_first_of_several_processes_speaks(vtok, recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    result = vtok("train", recipe, "-o", tmp_path / "run")
    assert (result.code, result.out, result.err) == (0, b"", "")


def test_handlers_of_the_log_are_put_back(vtok, recipe, tmp_path):
    before = logging.getLogger("vtok").handlers[:]
    vtok("train", recipe, "-o", tmp_path / "run")
    assert logging.getLogger("vtok").handlers == before
