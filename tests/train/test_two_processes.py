"""Two processes train what one trains."""

import json

import pytest

from tests.train.toy import TABLE, entries, toy_config
from tests.train.two_processes import launch
from vtok.train.loop import run


def test_two_processes_agree_with_one(tmp_path):
    settings = {"log_every": 1, "toy": {"critic_from": 4}, "validation": {"every": 6, "num_pictures": 2, "lengths": [0]}}
    config = toy_config(**settings)
    launch("tests.train.toy", str(tmp_path / "two"), config.model_dump_json())
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
