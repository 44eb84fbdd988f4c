"""`nested` learns with every kind of quantizer, from random weights and on principal components."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.quantizer_kinds import KINDS
from tests.train.test_nested_objective import SYNTHETIC, a_batch, begun, figures, trained
from tests.train.toy import entries, tensors
from tests.train.two_processes import train_in_two
from vtok.errors import ConfigError
from vtok.models.quantizers import Quantizer
from vtok.models.quantizers.config import FsqConfig
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.nested import NestedTokenizer
from vtok.train import TABLE, load_config, run
from vtok.train.closed_form.first_codes import latents_of_tiles
from vtok.train.engine.stop import StoppedError
from vtok.train.objectives.nested import NestedObjective
from vtok.train.samples.pictures import open_pictures

every_kind = pytest.mark.parametrize("kind", KINDS)


def settings(kind: str, **changes: Any) -> dict[str, Any]:
    if kind == "library":
        pytest.importorskip("vector_quantize_pytorch", reason="needs the extra `train`")
    return {"quantizer": KINDS[kind], **changes}


@every_kind
@pytest.mark.parametrize("start", ["random", "linear"])
def test_it_learns(kind: str, start: str) -> None:
    objective = begun(**settings(kind, start=start))
    before, after = trained(objective, 12, lambda _: a_batch(1000, num=8))
    assert after < before


@every_kind
def test_losses_have_the_quantizers_names_and_all_are_finite(kind: str) -> None:
    objective = begun(**settings(kind, start="linear"))
    quantizer: Quantizer = objective.model.quantizer
    found = {name.removeprefix("network/"): value for name, value in figures(objective, a_batch()).items()}
    assert set(found) - {"l2", "alignment"} <= set(quantizer.loss_weights)
    assert all(torch.tensor(value).isfinite() for value in found.values())


@torch.no_grad()
def test_a_linear_start_gives_the_quantizer_the_components_in_their_order_and_each_about_1() -> None:
    objective = begun(**settings("fsq", start="linear"))
    model = objective.model
    assert bool((model.component_scales.diff() <= 0).all())
    assert isinstance(objective.config.quantizer, FsqConfig)
    latents = latents_of_tiles(model, open_pictures(SYNTHETIC, 0), 300)
    assert 0.5 < float(model.in_units(latents).square().mean().sqrt()) < 2
    torch.testing.assert_close(model.from_units(model.in_units(latents)), latents)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["vq", "a table each", "residual", "factorized, mixed"])
def test_a_linear_start_with_first_codes_can_already_tell_pictures_apart(kind: str) -> None:
    model = begun(**settings(kind, start="linear")).model.eval()
    latents = model.in_units(latents_of_tiles(model, open_pictures(SYNTHETIC, 0), 1))  # of the picture that the codes were found on
    left = latents - model.quantizer(latents).vectors
    assert float(left.square().sum()) < 0.75 * float((latents - latents.mean(0)).square().sum())


def test_more_numbers_than_there_are_components_are_refused() -> None:
    many = {"kind": "vq", "num_tokens": 4, "dim": 4000, "codebook_size": 16}
    with pytest.raises(ConfigError, match=r"raise linear\.max_components"):
        begun(start="linear", quantizer=many)


# --- whole runs

SHORT = ["train.steps=3", "train.log_every=1", "train.image_every=0", "train.validation.every=0", "train.trackers=[]", "threads=1"]


@pytest.mark.parametrize("name", ["smoke-factorized", "smoke-dual"])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "smoke-dual":
        pytest.importorskip("timm", reason="needs the extra `models`")
    config = load_config(name, SHORT)
    unbroken = run(config, TABLE, tmp_path / "unbroken")
    with monkeypatch.context() as patch:
        after = NestedObjective.after_step

        def stopping(self: NestedObjective, step: int, ema: Tokenizer) -> None:
            after(self, step, ema)
            if step == 1:
                os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr(NestedObjective, "after_step", stopping)
        with pytest.raises(StoppedError):
            run(config, TABLE, tmp_path / "run")
    run(config, TABLE, tmp_path / "run")
    found, expected = tensors(tmp_path / "run", 3), tensors(unbroken, 3)
    assert found.keys() == expected.keys()
    assert [key for key, value in found.items() if not torch.equal(value, expected[key])] == []
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (unbroken / "model.safetensors").read_bytes()
    assert entries(tmp_path / "run") == entries(unbroken)


def test_two_processes_agree_with_one_on_codes_found_by_kmeans_moved_by_means_and_revived(tmp_path: Path) -> None:
    branches = '[{kind="spherical_vq", dim=2, codebook_size=8}, {kind="vq", dim=2, codebook_size=8}]'
    learning = 'nested.vq={learning="ema", ema_decay=0.5, revival={window=1.0, threshold=0.5}}'
    sets = [*SHORT, "train.steps=4", "train.batch_size=4", f"nested.quantizer.branches={branches}", learning]
    one = run(load_config("smoke-factorized", sets), TABLE, tmp_path / "one")
    train_in_two("smoke-factorized", tmp_path / "two", 4, sets)
    for found, expected in zip(entries(tmp_path / "two"), entries(one), strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    states = [NestedTokenizer.from_pretrained(folder).state_dict() for folder in (tmp_path / "two", one)]
    for branch in range(2):
        torch.testing.assert_close(*(state[f"quantizer.parts.{branch}.codes"] for state in states), rtol=1e-4, atol=1e-4)
    begun_with = NestedTokenizer.from_pretrained(one / "start").state_dict()
    assert not torch.equal(begun_with["quantizer.parts.0.codes"], states[1]["quantizer.parts.0.codes"])
