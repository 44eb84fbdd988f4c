"""Whole runs of small models that make strings of a picture: a few steps long, stopped and gone on with; and, slow, to their end."""

import os
import signal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.toy import entries, tensors
from tests.train.two_processes import train_in_two
from vtok.recipes import names
from vtok.tokenizers.pretrained import Pretrained
from vtok.train import TABLE, load_config, run
from vtok.train.config import RunConfig
from vtok.train.engine.stop import StoppedError
from vtok.train.loop import build
from vtok.train.objectives.titok_stage1 import TitokStage1Objective
from vtok.train.samples.batches import open_batches

SMOKE = [name for name in names() if name.startswith("smoke-") and load_config(name).objective not in ("linear", "nested")]
every_smoke_recipe = pytest.mark.parametrize("name", SMOKE)
STEPS = 3
SHORT = [f"train.steps={STEPS}", "train.log_every=1", "train.image_every=0", "train.validation.every=0", "train.trackers=[]", "threads=1"]


def a_short_run(name: str) -> RunConfig:
    """A recipe cut to a few steps, of which the discriminator sees the last."""
    objective = load_config(name).objective
    if objective == "vae":
        pytest.importorskip("diffusers", reason="needs the extra `models`")
    has_adversary = objective not in ("titok_stage1", "flextok")
    return load_config(name, SHORT + ([f"{objective}.adversary.first_step={STEPS - 1}"] if has_adversary else []))


def stop_after(step: int, objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, class_name = TABLE[objective].partition(":")
    kind = getattr(import_module(module), class_name)
    after = kind.after_step

    def stopping(self: Any, number: int, ema: Pretrained) -> None:
        after(self, number, ema)
        if number + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(kind, "after_step", stopping)


@every_smoke_recipe
def test_a_smoke_recipe_that_was_stopped_goes_on_to_the_same_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = a_short_run(name)
    unbroken = run(config, TABLE, Path("unbroken"))
    with monkeypatch.context() as patch:
        stop_after(1, config.objective, patch)
        with pytest.raises(StoppedError):
            run(config, TABLE, Path("broken"))
    broken = run(config, TABLE, Path("broken"))
    found, expected = tensors(broken, STEPS), tensors(unbroken, STEPS)
    assert found.keys() == expected.keys()
    assert [key for key, value in found.items() if not torch.equal(value, expected[key])] == []
    for file in ("config.json", "model.safetensors"):
        assert (broken / file).read_bytes() == (unbroken / file).read_bytes()
    assert entries(broken) == entries(unbroken)
    assert [entry["step"] for entry in entries(broken)] == [1, 2, 3]
    assert {path.name for path in tmp_path.iterdir()} == {"broken", "unbroken"}
    start, end = (Pretrained.from_pretrained(unbroken / place).state_dict() for place in ("start", "."))
    assert any(not torch.equal(value, end[key]) for key, value in start.items())


def test_two_processes_agree_with_one(tmp_path: Path) -> None:
    """With codes that are moved onto latents of both, captions, and an adversary that LeCam holds back."""
    sets = [*SHORT, "train.steps=4", "train.batch_size=4", "tatitok.adversary.first_step=1", "tatitok.adversary.lecam=0.5"]
    one = entries(run(load_config("smoke-tatitok-vq", sets), TABLE, tmp_path / "one"))
    train_in_two("smoke-tatitok-vq", tmp_path / "two", 4, sets)
    two = entries(tmp_path / "two")
    assert len(two) == len(one) == 4
    assert one[-1]["loss"]["discriminator/lecam"] > 1e-5
    for found, expected in zip(two, one, strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)


def ignorance(config: RunConfig, steps: int) -> float:
    """The least loss over the last steps of what says the same of every picture: their mean, or how often each cell has each code."""
    batches = open_batches(config.data, config.train, config.seed, start_step=config.train.steps - steps)
    images = torch.cat([part.images for parts in batches for part in parts])
    if config.objective != "titok_stage1":
        return float((images - images.mean(0)).square().mean())
    objective = build(config, TABLE)
    assert isinstance(objective, TitokStage1Objective)
    ids = objective._proxy_ids(images)
    shares = torch.stack([torch.bincount(cell, minlength=int(ids.max()) + 1) for cell in ids.T]).double() / len(ids)
    return float(torch.special.entr(shares).sum(1).mean())


@pytest.mark.slow
@every_smoke_recipe
def test_a_smoke_recipe_learns_to_tell_pictures_apart(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    found = entries(run(config, TABLE, tmp_path / "run"))
    losses = [entry["loss"] for entry in found if "loss" in entry]
    key = {"titok_stage1": "network/proxy_codes", "flextok": "network/flow"}.get(config.objective, "network/l2")
    last = sum(loss[key] for loss in losses[-3:]) / 3
    assert last < 0.65 * losses[0][key]
    if config.objective == "flextok":  # its loss is not of pictures
        last = 10 ** (-max(found[-1]["validation"]["psnr"].values()) / 10)
    assert last < ignorance(config, 3 * config.train.log_every)
