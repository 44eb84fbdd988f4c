"""The training of FlexTok: its loss by hand, what learns, draws, alignment, cached latents, whole runs, what is refused."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate

from tests.train.titok_settings import SIDE, SYNTHETIC, TRAINED, a_batch, figures, halves, made, total
from tests.train.toy import entries, tensors
from tests.train.two_processes import train_in_two
from vtok.data import open_source, write_picture
from vtok.errors import ConfigError, LengthError, VtokError, WeightsError
from vtok.models.flow.times import LogitNormalTimes, ModeTimes
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.flextok import FlextokTokenizer
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.titok import PixelTitok
from vtok.train import TABLE, load_config, run
from vtok.train.config import RunConfig, TrainConfig, check
from vtok.train.engine.steps import Stepper
from vtok.train.engine.stop import StoppedError
from vtok.train.objectives.flextok import FlextokObjective
from vtok.train.samples.batch import Batch
from vtok.train.samples.latent_cache import LatentCache, cache_settings, named_autoencoder, variants
from vtok.train.samples.pictures import open_pictures

TOKENS = 6
NETWORK: dict[str, Any] = {"dim": 16, "depth": 2, "heads": 2}
MODEL: dict[str, Any] = {
    "image_size": SIDE,
    "patch_size": 8,
    "quantizer": {"num_tokens": TOKENS, "levels": [4, 5, 3]},
    "encoder": NETWORK,
    "decoder": NETWORK,
    "sampling": {"steps": 2},
}
SETTINGS: dict[str, Any] = TRAINED | {"model": MODEL}
TEACHER: dict[str, Any] = {"backbone": "test_vit", "pretrained": False, "size": 64}
ALIGNED: dict[str, Any] = {"representation": {"teacher": TEACHER, "layer": 0}}
ON_LATENTS: dict[str, Any] = {"autoencoder": "taef2", "model": MODEL | {"patch_size": 1}}
FROZEN = ("autoencoder.", "quantizer.", "encoder.positions", "decoder.positions")


def an_objective(**changes: Any) -> FlextokObjective:
    """An objective before it begins, with changes to its settings."""
    objective: FlextokObjective = made("flextok", SETTINGS | changes)
    return objective


def begun(seed: int = 0, **changes: Any) -> FlextokObjective:
    torch.manual_seed(0)
    objective = an_objective(**changes)
    tokenizer = objective.prepare(open_pictures(SYNTHETIC, 0), torch.Generator().manual_seed(seed))
    objective.begin(tokenizer, seed=seed)
    return objective


@torch.no_grad()
def awake(objective: FlextokObjective) -> FlextokObjective:
    """With all that a start leaves at 0 drawn at random."""
    generator = torch.Generator().manual_seed(1)
    beside = [] if objective.representation is None else [*objective.representation.parameters()]
    for parameter in [*objective.model.parameters(), *beside]:
        if parameter.requires_grad:
            parameter.normal_(0, 0.3 if parameter.ndim < 2 else parameter[0].numel() ** -0.5, generator=generator)
    return objective


def gradients(objective: FlextokObjective, batch: Batch) -> dict[str, Tensor]:
    """Of all parameters that the losses of a batch reach, if only with 0."""
    objective.zero_grad()
    total(objective.losses(batch)).backward()
    return {name: parameter.grad for name, parameter in objective.named_parameters() if parameter.grad is not None}


def a_stepper(objective: Any, steps: int, **train: Any) -> Stepper:
    return Stepper(objective, TrainConfig(steps=steps, **train), Accelerator(cpu=True))


def stepped(objective: FlextokObjective, steps: int, *, batch: Batch | None = None, **train: Any) -> list[Tensor]:
    """What each step told, of batches of their own or always the same one."""
    stepper, told = a_stepper(objective, steps, **train), []
    for step in range(steps):
        told.append(stepper.step(step, [a_batch(step) if batch is None else replace(batch, step=step)])[1])
        objective.after_step(step, objective.model)
    return told


# --- the loss, by hand


def one_by_one(objective: FlextokObjective, batch: Batch, maps: Tensor, layer: int = 0) -> tuple[Tensor, Tensor]:
    """The mean error of the velocity of each sample, and the patches after a layer, by networks that see a sample at a time."""
    model = objective.model
    (lengths,) = objective.lengths(batch, model.spec)
    noise, times, dropped = objective._draws(batch, maps)
    errors, features = [], []
    for own, (data, start, time) in enumerate(zip(maps, noise, times, strict=True)):
        string = model.quantizer.lookup(model.quantizer(model.encoder(data[None])).ids)
        condition = model.decoder.no_condition(1) if dropped[own] else model.decoder.condition(string, lengths[own : own + 1])
        point = time * start + (1 - time) * data
        velocity, seen = model.decoder(point[None], model.decoder.modulations(time[None]), condition, noted=layer)
        errors.append((velocity[0] - (start - data)).square().mean())
        features.append(seen[0, : (maps.shape[2] // model.config.patch_size) ** 2])
    return torch.stack(errors), torch.stack(features)


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"null_share": 0.5, "prefix": "uniform"}, {"times": "logit_normal", "prefix": "full"}], ids=str)
def test_a_step_costs_the_mean_squared_error_of_the_velocity(changes: dict[str, Any]) -> None:
    objective, batch = awake(begun(**changes)), a_batch(1, 6)
    errors, _ = one_by_one(objective, batch, 2 * batch.images - 1)
    torch.testing.assert_close(objective.losses(batch), {"network": {"flow": errors.mean()}})


@torch.no_grad()
def test_both_decodes_of_a_pair_count_and_share_their_draws() -> None:
    prefix = {"rule": "list", "lengths": [2]}
    rules = ({"rule": "pair", "of": prefix}, "full", prefix)
    pair, whole, short = (figures(awake(begun(prefix=rule)), a_batch(1))["network/flow"] for rule in rules)
    assert whole != short
    assert pair == pytest.approx(whole + short)


@torch.no_grad()
def test_a_fresh_model_costs_the_variance_of_the_velocity() -> None:
    objective, batch = begun(), a_batch()
    maps = 2 * batch.images - 1
    wanted = objective._draws(batch, maps)[0] - maps
    assert figures(objective, batch) == pytest.approx({"network/flow": float(wanted.square().mean())})


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("changes", [{}, ALIGNED, ON_LATENTS], ids=["pixels", "aligned", "latents"])
def test_losses_are_finite_float32_scalars_and_so_are_gradients(changes: dict[str, Any], precision: torch.dtype) -> None:
    if "representation" in changes:
        pytest.importorskip("timm", reason="needs the extra `models`")
    objective = awake(begun(**changes))
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        losses = objective.losses(a_batch())
        total(losses).backward()
    assert all(value.shape == () and value.dtype == torch.float32 and bool(value.isfinite()) for value in losses["network"].values())
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


@torch.no_grad()
def test_losses_of_a_batch_are_the_mean_of_those_of_its_halves() -> None:
    objective = awake(begun(null_share=0.3, prefix={"rule": "pair", "of": "pow2"}))
    whole = figures(objective, a_batch(num=6))
    first, second = (figures(objective, part) for part in halves(a_batch(num=6)))
    assert {name: (first[name] + second[name]) / 2 for name in whole} == pytest.approx(whole, rel=1e-5)


# --- what learns


@pytest.mark.parametrize("changes", [{}, ON_LATENTS], ids=["pixels", "latents"])
def test_gradients_reach_all_that_is_trained_and_nothing_else(changes: dict[str, Any]) -> None:
    objective = awake(begun(**changes, null_share=0.3))
    reached = {name for name, gradient in gradients(objective, a_batch(num=8)).items() if gradient.any()}
    trained = {f"model.{name}" for name, _ in objective.model.named_parameters() if not name.startswith(FROZEN)}
    assert reached == trained == {name for name, parameter in objective.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("prefix", [{"rule": "list", "lengths": [2]}, "full"], ids=["short", "whole"])
@pytest.mark.parametrize("share", [0.0, 0.999])
def test_every_parameter_has_a_gradient_whatever_was_drawn(prefix: Any, share: float) -> None:
    """If only of 0: several processes wait for that of each."""
    objective = begun(prefix=prefix, null_share=share)
    reached = gradients(objective, a_batch())
    assert reached.keys() == {name for name, parameter in objective.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("changes", [{}, ON_LATENTS], ids=["pixels", "latents"])
def test_steps_move_all_that_is_trained_and_nothing_else(changes: dict[str, Any]) -> None:
    """The first steps of a fresh model reach no further than what begins at 0."""
    objective = begun(**changes, null_share=0.3)
    model = objective.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stepped(objective, 6)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if not name.startswith(FROZEN)}


def test_a_few_steps_lower_the_losses_of_a_batch() -> None:
    wider = NETWORK | {"dim": 64}
    objective, batch = begun(model=MODEL | {"patch_size": 4, "encoder": wider, "decoder": wider}), a_batch()
    with torch.no_grad():
        before = figures(objective, batch)["network/flow"]
    stepped(objective, 40, batch=batch)
    with torch.no_grad():
        assert figures(objective, batch)["network/flow"] < 0.8 * before


def test_blocks_computed_again_give_the_same_gradients() -> None:
    found = []
    for again in (False, True):
        objective = awake(begun())
        objective.model.set_gradient_checkpointing(again)
        assert objective.model.encoder.checkpointing == objective.model.decoder.trunk.checkpointing == again
        found.append(gradients(objective, a_batch()))
    torch.testing.assert_close(found[1], found[0])


def test_a_compiled_step_is_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are run as they were traced: a compiler behind them would take minutes."""
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled(module, backend="eager"))
    plain, other = (stepped(awake(begun(prefix="full", null_share=0.5)), 2, compile=compile_it) for compile_it in (False, True))
    torch.testing.assert_close(other, plain, rtol=1e-3, atol=0)  # AdamW makes much of rounding


def test_tables_and_what_has_one_axis_and_embeddings_of_patches_are_not_decayed() -> None:
    objective = begun()
    (optimizer,) = a_stepper(objective, 1).optimizers
    names = {id(parameter): name for name, parameter in objective.model.named_parameters()}
    decayed = {names[id(parameter)] for part in optimizer.param_groups if part["weight_decay"] for parameter in part["params"]}
    plain = {names[id(parameter)] for part in optimizer.param_groups if not part["weight_decay"] for parameter in part["params"]}
    assert decayed | plain == set(names.values())
    tables = {"encoder.registers", "decoder.register_positions"}
    tables |= {"encoder.patch_embed.weight", "decoder.patch_embed.weight"}
    assert tables | {names[id(parameter)] for parameter in objective.model.parameters() if parameter.ndim < 2} <= plain
    assert {name for name in names.values() if name.endswith("weight") and ("blocks." in name or "head." in name)} <= decayed


# --- draws


def drawn(objective: FlextokObjective, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    return objective._draws(batch, 2 * batch.images - 1)


def test_draws_are_each_samples_own_by_seed_step_and_index() -> None:
    objective = begun(null_share=0.5)
    whole = drawn(objective, a_batch(3, 8))
    parts = [drawn(objective, part) for part in halves(a_batch(3, 8))]
    for own, found in enumerate(whole):
        assert torch.equal(torch.cat([part[own] for part in parts]), found)
        assert torch.equal(drawn(objective, a_batch(3, 6))[own], found[:6])
    for other in (drawn(objective, a_batch(4, 8)), drawn(begun(seed=1, null_share=0.5), a_batch(3, 8))):
        assert not torch.equal(other[0], whole[0])
        assert not torch.equal(other[1], whole[1])
    noise, times, dropped = whole
    assert noise.shape == (8, 3, SIDE, SIDE)
    assert len({tuple(own.flatten()[:9].tolist()) for own in noise}) == len(set(times.tolist())) == 8
    assert noise.dtype == times.dtype == torch.float32
    assert dropped.dtype == torch.bool


@pytest.mark.parametrize("times", [{"kind": "mode", "scale": 1.29}, {"kind": "logit_normal", "std": 0.5}])
def test_times_are_drawn_as_the_settings_say_and_noise_is_a_unit_normals(times: dict[str, Any]) -> None:
    objective = begun(times=times)
    noise, found, _ = (torch.cat(own) for own in zip(*(drawn(objective, a_batch(step, 20)) for step in range(20)), strict=True))
    kind = ModeTimes(scale=1.29) if times["kind"] == "mode" else LogitNormalTimes(std=0.5)
    expected = kind.at((torch.arange(400, dtype=torch.float64) + 0.5) / 400).sort().values
    assert float((found.sort().values - expected).abs().mean()) < 0.04  # 5 deviations of the mean of 400
    assert float(noise.mean()) == pytest.approx(0, abs=4 / noise.numel() ** 0.5)
    assert float(noise.std()) == pytest.approx(1, abs=4 / noise.numel() ** 0.5)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9])
def test_so_large_a_share_of_the_samples_is_told_nothing(share: float) -> None:
    dropped = torch.cat([drawn(begun(null_share=share), a_batch(step, 40))[2] for step in range(10)])
    assert float(dropped.double().mean()) == pytest.approx(share, abs=4 * (share * (1 - share) / 400) ** 0.5)


def test_lengths_are_powers_of_two_and_all_unless_a_rule_says_otherwise() -> None:
    settings: list[tuple[dict[str, Any], set[int]]] = [
        ({}, {1, 2, 4, 6}),
        ({"prefix": "full"}, {6}),
        ({"prefix": "uniform"}, set(range(1, 7))),
        ({"prefix": {"rule": "list", "lengths": [3]}}, {3}),
    ]
    for changes, expected in settings:
        objective = begun(**changes)
        lengths = [own for step in range(20) for own in objective.lengths(a_batch(step), objective.model.spec)]
        assert set(torch.cat(lengths).tolist()) == expected
    both = begun(prefix={"rule": "pair", "of": {"rule": "list", "lengths": [2]}})
    assert [own.tolist() for own in both.lengths(a_batch(), both.model.spec)] == [[6] * 4, [2] * 4]


def test_no_token_beyond_a_length_is_trained() -> None:
    objective = awake(begun(prefix={"rule": "list", "lengths": [2]}, null_share=0.0))
    seen: list[Tensor] = []
    objective.model.encoder.register_forward_hook(lambda _, __, out: seen.append(out.retain_grad() or out))
    found = gradients(objective, a_batch())
    assert seen[0].grad is not None
    assert seen[0].grad.any(2).any(0).tolist() == [True, True] + [False] * 4
    assert found["model.encoder.registers"].any(1).tolist() == [True, True] + [False] * 4


# --- alignment with a vision transformer


@pytest.fixture
def aligned() -> FlextokObjective:
    pytest.importorskip("timm", reason="needs the extra `models`")
    return awake(begun(**ALIGNED))


@torch.no_grad()
def test_alignment_costs_the_negative_cosine_of_a_layers_patches_with_the_last_features(aligned: FlextokObjective) -> None:
    batch = a_batch(1)
    losses = aligned.losses(batch)["network"]
    _, features = one_by_one(aligned, batch, 2 * batch.images - 1)
    assert aligned.representation is not None
    own = aligned.representation.head(features).mT.unflatten(2, (4, 4))
    teacher = aligned.representation.teacher
    larger = interpolate(batch.images, (64, 64), mode="bilinear", antialias=True)
    wanted = teacher.backbone.network((larger - teacher.mean) / teacher.std)[-1]
    expected = -cosine_similarity(interpolate(own, wanted.shape[2:], mode="bilinear"), wanted, dim=1).mean()
    torch.testing.assert_close(losses["representation"], expected)
    assert figures(awake(begun()), batch)["network/flow"] == pytest.approx(float(losses["flow"]))


def test_alignment_trains_its_head_and_what_lies_below_the_layer(aligned: FlextokObjective) -> None:
    aligned.losses(a_batch())["network"]["representation"].backward()
    reached = {name for name, parameter in aligned.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    assert {name for name in reached if name.startswith("representation.")} == {
        f"representation.head.layers.{layer}.{end}" for layer in (0, 2, 4) for end in ("weight", "bias")
    }
    assert any(name.startswith("model.encoder.blocks.") for name in reached)
    assert any(name.startswith("model.decoder.trunk.blocks.0.") for name in reached)
    assert not any(name.startswith(("model.decoder.trunk.blocks.1.", "model.decoder.head.")) for name in reached)


def test_the_head_is_trained_with_the_network_and_the_teacher_neither_trained_nor_kept(aligned: FlextokObjective) -> None:
    assert aligned.representation is not None
    (group,) = aligned.groups
    head = list(aligned.representation.head.parameters())
    assert {id(parameter) for parameter in head} <= {id(parameter) for parameter in group.parameters}
    teacher = aligned.representation.teacher.backbone.network
    before = [value.clone() for value in (*head, *teacher.parameters())]
    stepped(aligned, 1)
    moved = [not torch.equal(*pair) for pair in zip((*head, *teacher.parameters()), before, strict=True)]
    assert moved == [True] * len(head) + [False] * (len(moved) - len(head))
    assert {name.split(".")[1] for name in aligned.state_dict() if name.startswith("representation.")} == {"head"}
    assert not any("representation" in name for name in aligned.model.state_dict())


@torch.no_grad()
def test_alignment_has_its_weight_and_counts_for_both_decodes() -> None:
    pytest.importorskip("timm", reason="needs the extra `models`")

    def cost(weight: float, prefix: Any) -> float:
        settings: dict[str, Any] = {"representation": ALIGNED["representation"] | {"weight": weight}, "prefix": prefix}
        return figures(awake(begun(**settings)), a_batch())["network/representation"]

    short = {"rule": "list", "lengths": [2]}
    once = cost(1.0, short)
    assert cost(3.0, short) == pytest.approx(3 * once)
    assert cost(1.0, {"rule": "pair", "of": short}) == pytest.approx(once + cost(1.0, "full"))


def test_the_head_begins_with_the_seed_of_the_run() -> None:
    pytest.importorskip("timm", reason="needs the extra `models`")
    found = []
    for before in (1, 2):
        torch.manual_seed(before)
        objective = an_objective(**ALIGNED)
        tokenizer = objective.prepare(open_pictures(SYNTHETIC, 0), torch.Generator().manual_seed(0))
        torch.manual_seed(0)  # as the loop does
        objective.begin(tokenizer, seed=0)
        assert objective.representation is not None
        found.append(objective.representation.head.state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_a_few_steps_align_a_batch(aligned: FlextokObjective) -> None:
    batch = a_batch()
    with torch.no_grad():
        before = figures(aligned, batch)["network/representation"]
    stepped(aligned, 20, batch=batch)
    with torch.no_grad():
        assert figures(aligned, batch)["network/representation"] < before - 0.1


# --- latents


@torch.no_grad()
def test_latents_that_come_with_the_batch_are_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, batch = awake(begun(**ON_LATENTS)), a_batch()
    assert objective.model.autoencoder is not None
    latents = objective.model.autoencoder.encode(batch.images)
    errors, _ = one_by_one(objective, batch, latents)
    expected = figures(objective, batch)
    assert expected == pytest.approx({"network/flow": float(errors.mean())})
    monkeypatch.setattr(objective.model.autoencoder, "encode", None)
    assert figures(objective, replace(batch, latents=latents.double())) == pytest.approx(expected)
    assert figures(objective, replace(batch, latents=latents + 1)) != pytest.approx(expected)


def test_the_autoencoder_is_the_one_named_and_its_digest_known() -> None:
    objective = begun(**ON_LATENTS)
    _, named = named_autoencoder("taef2")
    assert objective.model.autoencoder is not None
    assert all(torch.equal(value, named.state_dict()[name]) for name, value in objective.model.autoencoder.state_dict().items())
    assert len(objective.latents_digest()) == 64
    assert begun().latents_digest() == ""


def test_a_run_learns_from_a_cache_of_latents(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 56, 3), dtype=np.uint8)
        write_picture(tmp_path / "pictures" / f"{number}.png", pixels)
    source, (config, autoencoder) = open_source(tmp_path / "pictures"), named_autoencoder("taef2")
    settings = cache_settings(source, config, autoencoder, kept=variants((1.0,), mirror=False), max_side=0)
    list(LatentCache(tmp_path / "cache", settings).write(source, autoencoder))
    data = {"kind": "cache", "path": str(tmp_path / "cache"), "scales": (1.0, 1.0), "captions": False}
    losses = [entry["loss"]["network/flow"] for entry in entries(run(short_run(data, **ON_LATENTS), TABLE, tmp_path / "run"))]
    assert len(losses) == 4
    assert all(0 < loss < 10 for loss in losses)


# --- whole runs


def short_run(data: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
    """Four steps on synthetic pictures, with changes to the data and to the settings of the objective."""
    train = {"steps": 4, "batch_size": 4, "accumulate": 2, "log_every": 1, "ema": 0.9, "trackers": ()}
    values = {"objective": "flextok", "threads": 1, "data": SYNTHETIC.model_dump() | (data or {}), "train": train}
    return check(RunConfig, values | {"flextok": SETTINGS | changes}, "a short run")


def run_until(step: int, config: RunConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after = FlextokObjective.after_step

    def stopping(self: FlextokObjective, number: int, ema: Pretrained) -> None:
        after(self, number, ema)
        if number + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(FlextokObjective, "after_step", stopping)
        with pytest.raises(StoppedError):
            run(config, TABLE, folder)


@pytest.mark.parametrize("changes", [{"prefix": {"rule": "pair", "of": "pow2"}}, ALIGNED], ids=["pair", "aligned"])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if changes is ALIGNED:
        pytest.importorskip("timm", reason="needs the extra `models`")
    config = short_run(**changes)
    torch.manual_seed(0)  # of a teacher without weights
    unbroken = run(config, TABLE, tmp_path / "unbroken")
    torch.manual_seed(0)
    run_until(2, config, tmp_path / "broken", monkeypatch)
    torch.manual_seed(0)
    broken = run(config, TABLE, tmp_path / "broken")
    found, expected = tensors(broken, 4), tensors(unbroken, 4)
    assert found.keys() == expected.keys()
    assert [name for name, value in found.items() if not torch.equal(value, expected[name])] == []
    assert (broken / "model.safetensors").read_bytes() == (unbroken / "model.safetensors").read_bytes()
    assert entries(broken) == entries(unbroken)
    assert isinstance(Tokenizer.from_pretrained(broken), FlextokTokenizer)


def test_two_processes_agree_with_one(tmp_path: Path) -> None:
    sets = ["train.steps=4", "train.batch_size=4", "train.log_every=1", "train.image_every=0", "train.validation.every=0"]
    sets += ["train.trackers=[]", "threads=1", 'flextok.prefix={rule="pair", of="uniform"}', "flextok.null_share=0.5"]
    one = entries(run(load_config("smoke-flextok", sets), TABLE, tmp_path / "one"))
    train_in_two("smoke-flextok", tmp_path / "two", 4, sets)
    two = entries(tmp_path / "two")
    assert len(two) == len(one) == 4
    for found, expected in zip(two, one, strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)


# --- starts


def test_a_start_is_the_same_for_the_same_seed() -> None:
    first, again, other = (begun(seed=seed).model.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["encoder.registers"], other["encoder.registers"])


def test_a_model_is_trained_on_with_its_own_sizes_and_weights(tmp_path: Path) -> None:
    start = FlextokTokenizer.tiny()
    start.save_pretrained(tmp_path / "start")
    objective = an_objective(start=str(tmp_path / "start"))
    objective.check(SYNTHETIC.model_copy(update={"crop_size": 16}))
    with pytest.raises(ConfigError, match=r"data\.crop_size is 32 pixels, this tokenizer takes 16"):
        objective.check(SYNTHETIC)
    model = objective.prepare(open_pictures(SYNTHETIC, 0), torch.Generator())
    assert model.config == start.config
    assert all(torch.equal(value, start.state_dict()[name]) for name, value in model.state_dict().items())
    objective.begin(model, seed=0)
    assert {name.split(".")[0] for name in objective.state_dict()} == {"model"}


# --- what is refused


def other_family(folder: Path) -> None:
    PixelTitok.tiny().save_pretrained(folder)


def damaged(folder: Path) -> None:
    FlextokTokenizer.tiny().save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"nothing")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda _: None, "no such f"),
        (damaged, "model.safetensors"),
        (other_family, "a titok_pixel model, expected flextok"),
    ],
    ids=["missing", "damaged", "other family"],
)
def test_a_start_that_is_none_is_one_line(spoil: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    spoil(tmp_path / "start")
    with pytest.raises(VtokError, match=words) as error:
        an_objective(start=str(tmp_path / "start"))
    assert isinstance(error.value, ConfigError | WeightsError)
    assert str(error.value).startswith("flextok.start")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": MODEL | {"image_size": 30}}, "image_size 30 is not a multiple of the 8 pixels of a patch"),
        ({"autoencoder": "pixels"}, "leave the autoencoder out to code the pixels themselves"),
        ({"autoencoder": "taef2", "model": MODEL | {"image_size": 36}}, "36 is not a multiple of the 8 pixels of a latent"),
        ({"autoencoder": "nowhere"}, "no autoencoder 'nowhere'"),
        ({"model": MODEL | {"decoder": NETWORK | {"dim": 18}}}, "the decoder's dim 18 is not a multiple of 4"),
        ({"model": MODEL | {"quantizer": {"kind": "cascade", "num_latents": 6}}}, "quantizer"),
        ({"prefix": {"rule": "list", "lengths": [1, 9]}}, "9 tokens do not decode"),
        ({"prefix": {"rule": "pair", "of": {"rule": "list", "lengths": [9]}}}, "9 tokens do not decode"),
        ({"times": "cosine"}, "times"),
        ({"null_share": 1.0}, "null_share"),
        ({"null_shares": 0.1}, "did you mean null_share"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_one_line_before_a_picture_is_read(changes: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigError, LengthError, WeightsError), match=words) as error:
        an_objective(**changes).check(SYNTHETIC)
    assert "\n" not in str(error.value)


def test_a_layer_that_the_decoder_does_not_have_is_one_line() -> None:
    pytest.importorskip("timm", reason="needs the extra `models`")
    with pytest.raises(ConfigError, match=r"flextok\.representation\.layer is 2, the decoder has 2") as error:
        an_objective(representation=ALIGNED["representation"] | {"layer": 2})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"crop_size": 64}, "data.crop_size is 64 pixels, this tokenizer takes 32"),
        ({"kind": "cache"}, "holds an autoencoder's latents, FlextokObjective has none; give it pictures"),
    ],
    ids=["size", "cache"],
)
def test_data_that_does_not_fit_is_one_line_before_a_picture_is_read(data: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        an_objective().check(SYNTHETIC.model_copy(update=data))
    assert "\n" not in str(error.value)


def test_data_that_fits_is_taken() -> None:
    an_objective().check(SYNTHETIC)
    an_objective(**ON_LATENTS).check(SYNTHETIC.model_copy(update={"kind": "cache"}))
