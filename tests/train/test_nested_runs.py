"""Whole runs of `nested`: the smoke recipe, stopping and going on, two processes."""

import os
import signal
from pathlib import Path

import pytest
import torch

from tests.train.toy import entries, tensors
from tests.train.two_processes import train_in_two
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.nested import NestedTokenizer
from vtok.train import TABLE, load_config, run
from vtok.train.engine.stop import StoppedError
from vtok.train.objectives.nested import NestedObjective

RECIPE = """
objective = "nested"
threads = 1

[data]
kind = "synthetic"
num_synthetic = 16
crop_size = 32

[train]
steps = 6
batch_size = 4
log_every = 1
trackers = []
ema = 0.9

[nested]
start = "random"
quantizer = { kind = "vq", num_tokens = 4, dim = 3, codebook_size = 16 }
spread = 1.0
vq = { learning = "ema", revival = { window = 1.0, threshold = 0.3 } }

[nested.model]
patch_size = 4
num_registers = 3
encoder = { dim = 8, depth = 2, heads = 2 }
decoder = { dim = 8, depth = 2, heads = 2 }

[nested.pictures]
lpips = 0

[nested.adversary]
discriminator = { kind = "patch", dim = 16, depth = 1, norm = "spectral" }
lecam = 0.5
lecam_decay = 0.5
first_step = 1
warmup_steps = 1

[nested.network]
warmup_steps = 2

[nested.linear]
autoencoder = "pixels"
tile_size = 16
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def unbroken(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in one go."""
    return run(load_config(recipe), TABLE, tmp_path_factory.mktemp("runs") / "unbroken")


def test_the_smoke_recipe_trains_a_model_that_codes(tmp_path: Path) -> None:
    run(load_config("smoke", ["train.steps=3", "train.log_every=1", "threads=1"]), TABLE, tmp_path / "run")
    assert [entry["step"] for entry in entries(tmp_path / "run") if "loss" in entry] == [1, 2, 3]
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    start, end = (Tokenizer.from_pretrained(tmp_path / "run" / name) for name in ("start", "."))
    assert isinstance(end, NestedTokenizer)
    assert end.decode_grid(end.encode_grid(images, 4), 2, 2).shape == images.shape
    assert start.config == end.config
    assert not torch.equal(start.state_dict()["decoder.head.weight"], end.state_dict()["decoder.head.weight"])


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    after = NestedObjective.after_step

    def stopping(self: NestedObjective, number: int, ema: Tokenizer) -> None:
        after(self, number, ema)
        if number + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(NestedObjective, "after_step", stopping)


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    recipe: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(recipe)
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(StoppedError):
            run(config, TABLE, tmp_path / "run")
    run(config, TABLE, tmp_path / "run")
    found, expected = tensors(tmp_path / "run", 6), tensors(unbroken, 6)
    assert found.keys() == expected.keys()
    assert [name for name, value in found.items() if not torch.equal(value, expected[name])] == []
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (unbroken / "model.safetensors").read_bytes()
    assert entries(tmp_path / "run") == entries(unbroken)


def test_codes_were_revived_in_that_run(unbroken: Path) -> None:
    """Or the tests of it would say less than they seem to."""
    start, end = (Tokenizer.from_pretrained(unbroken / name).state_dict()["quantizer.codes"] for name in ("start", "."))
    assert float((start - end).norm(dim=-1).max()) > 0.2 * float(start.norm(dim=-1).mean())


def test_the_discriminator_was_held_back_in_that_run(unbroken: Path) -> None:
    """As above: LeCam had a value, and running means to go on from."""
    assert all(entry["loss"]["discriminator/lecam"] > 1e-4 for entry in entries(unbroken)[1:])
    assert all(bool(tensors(unbroken, 6)[f"weights.adversary.lecam.{side}"]) for side in ("real", "fake"))


def test_two_processes_agree_with_one(recipe: Path, unbroken: Path, tmp_path: Path) -> None:
    train_in_two(recipe, tmp_path / "two", 6)
    two, one = entries(tmp_path / "two"), entries(unbroken)
    assert len(two) == len(one) == 6
    for found, expected in zip(two, one, strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)
