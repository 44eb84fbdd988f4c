"""A generator whose weights are dealt out over two processes is trained as a whole one is."""

import pytest
from safetensors.torch import load_file

from tests.train.toy import entries
from tests.train.two_processes import train_in_two
from vtok.errors import ConfigError
from vtok.generate.objectives import TABLE
from vtok.train.config import load_config
from vtok.train.engine.shards import check_shards
from vtok.train.loop import build, run


@pytest.fixture
def sets(strings):
    """Settings of a small training on four shards of strings."""
    trunk = "gpt.network.trunk={dim = 16, depth = 2, heads = 2, hidden = 16, dropout = 0.0}"
    validation = ["train.validation.every=2", "train.validation.lengths=[1, 0]"]
    every = ["train.log_every=1", "train.checkpoint_every=2", "train.image_every=0", "train.trackers=[]", "train.accumulate=2"]
    return [f"data.path={strings}", "gpt.classes=true", "train.ema=0.5", "gpt.optimizer.warmup_steps=0", trunk, *validation, *every]


def test_two_processes_with_half_the_weights_each_agree_with_one(sets, tmp_path):
    for steps in (2, 4):  # the second goes on from the checkpoint of the first
        constant = [*sets, "gpt.optimizer.final_share=1", f"train.steps={steps}"]
        train_in_two("gpt_smoke", tmp_path / "two", steps, [*constant, "train.shard=true"])
    run(load_config("gpt_smoke", [*sets, "gpt.optimizer.final_share=1", "train.steps=4"]), TABLE, tmp_path / "constant")
    two, one = (entries(tmp_path / name) for name in ("two", "constant"))
    assert [entry.keys() for entry in two] == [entry.keys() for entry in one]
    for found, expected in zip(two, one, strict=True):
        for figures in ("loss", "grad_norm"):
            if figures in expected:
                assert found[figures] == pytest.approx(expected[figures], rel=1e-5)
        if "validation" in expected:
            assert found["validation"]["bits_per_token"] == pytest.approx(expected["validation"]["bits_per_token"], rel=1e-5)
    weights, whole = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "constant"))
    assert weights.keys() == whole.keys()
    for name, value in whole.items():
        assert weights[name].shape == value.shape
        assert (weights[name] - value).abs().max() < 1e-4, name


@pytest.mark.parametrize(
    ("recipe", "num_processes", "compiled", "message"),
    [
        ("gpt_smoke", 1, False, "start them with accelerate launch"),
        ("gpt_smoke", 2, True, "do not go together"),
    ],
)
def test_what_cannot_be_dealt_out_is_refused(recipe, num_processes, compiled, message):
    with pytest.raises(ConfigError, match=message):
        check_shards(build(load_config(recipe), TABLE), num_processes, compiled=compiled)


def test_tokenizers_are_not_dealt_out():
    from vtok.train import TABLE as TOKENIZERS

    with pytest.raises(ConfigError, match=r"train\.shard deals out generators"):
        check_shards(build(load_config("smoke"), TOKENIZERS), 2, compiled=False)


def test_a_compiled_step_is_the_step(sets, tmp_path, monkeypatch):
    """Graphs are run as they were traced: a compiler behind them would take minutes."""
    import torch

    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled(module, backend="eager"))
    for name, compile_it in (("plain", "false"), ("compiled", "true")):
        run(load_config("gpt_smoke", [*sets, "train.steps=3", f"train.compile={compile_it}"]), TABLE, tmp_path / name)
    plain, other = ([entry["loss"] for entry in entries(tmp_path / name) if "loss" in entry] for name in ("plain", "compiled"))
    for first, second in zip(plain, other, strict=True):
        assert second == pytest.approx(first, rel=1e-5)
