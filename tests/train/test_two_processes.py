"""Two processes train what one trains."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT
from tests.train.toy import TABLE, entries, toy_config
from vtok.train.loop import run


def launch_two(folder, config):
    """Train in two processes of one thread on the processor; gloo carries the gradients."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"]
    command = [*launcher, "-m", "tests.train.toy", str(folder), config.model_dump_json()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_two_processes_agree_with_one(tmp_path):
    settings = {"log_every": 1, "toy": {"critic_from": 4}, "validation": {"every": 6, "num_pictures": 2, "lengths": [0]}}
    config = toy_config(**settings)
    launch_two(tmp_path / "two", config)
    assert len(json.loads((tmp_path / "two/checkpoints/step-00000012/state.json").read_text())["random"]) == 2
    run(config, TABLE, tmp_path / "one")
    two, one = (entries(tmp_path / name) for name in ("two", "one"))
    assert [entry.keys() for entry in two] == [entry.keys() for entry in one]
    for found, expected in zip(two, one, strict=True):
        assert found["step"] == expected["step"]
        for figures in ("loss", "grad_norm", "learning_rate"):
            if figures in expected:
                assert found[figures] == pytest.approx(expected[figures], rel=1e-5)
        if "validation" in expected:
            assert found["validation"]["psnr"] == pytest.approx(expected["validation"]["psnr"], abs=0.01)
