"""LlamaGen's VQ and FQGAN: their losses by hand, what learns, what branches are drawn to."""

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import normalize

from tests.train.titok_settings import SIDE, SYNTHETIC, a_batch, figures, made, total
from tests.train.toy import entries
from tests.train.two_processes import train_in_two
from vtok.errors import ConfigError, WeightsError
from vtok.train import TABLE, load_config, run
from vtok.train.config import TrainConfig
from vtok.train.engine.steps import Stepper
from vtok.train.samples.pictures import open_pictures

TABLE_OF_16 = {"kind": "spherical_vq", "dim": 4, "codebook_size": 16}
TRUNK = {"image_size": SIDE, "dim": 32, "multiples": [1, 1, 1, 1], "num_blocks": 1, "z_dim": 16}
DISCRIMINATOR = {"kind": "patch", "dim": 16, "depth": 2, "norm": "batch"}
ADVERSARY = {"discriminator": DISCRIMINATOR, "weight": 0.5, "first_step": 0, "warmup_steps": 0}
SETTINGS: dict[str, Any] = {
    "network": {"learning_rate": 3e-3, "warmup_steps": 0, "weight_decay": 0},
    "pictures": {"l2": 4.0, "lpips": 0},
    "adversary": ADVERSARY,
}


def branch(name: str) -> dict[str, Any]:
    return {"name": name, "depth": 1, "heads": 2, "quantizer": TABLE_OF_16 | {"entropy": {}}}


def drawn_to(name: str, **changes: Any) -> dict[str, Any]:
    return {"branch": name, "teacher": "random", "depth": 1, "heads": 2, "weight": 0.5} | changes


CASES: dict[str, dict[str, Any]] = {
    "llamagen_vq": SETTINGS | {"model": TRUNK | {"quantizer": TABLE_OF_16}},
    "fqgan": SETTINGS | {"model": TRUNK | {"branches": [branch("vis"), branch("sem")]}, "representation": [drawn_to("sem")]},
}
every_case = pytest.mark.parametrize("case", CASES)


def begun(case: str, **changes: Any) -> Any:
    objective = made(case, CASES[case] | changes)
    tokenizer = objective.prepare(open_pictures(SYNTHETIC, 0), torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    objective.begin(tokenizer, seed=0)
    return objective


def table_losses(z: Tensor, codes: Tensor) -> dict[str, Tensor]:
    """What one table at the unit sphere costs, unweighted: nearest codes, and how sure and how evenly they are taken."""
    z, codes = normalize(z, dim=-1).flatten(0, 1), normalize(codes[0], dim=-1)
    distances = torch.cdist(z, codes).square()
    error = (z - codes[distances.argmin(1)]).square().mean()
    shares = (-distances / 0.01).softmax(1)
    sure, even = -(shares * (shares + 1e-30).log()).sum(1).mean(), shares.mean(0)
    return {"commitment": error, "codebook": error, "entropy": sure + (even * (even + 1e-5).log()).sum()}


@torch.no_grad()
def test_llamagens_losses_are_those_of_pictures_of_the_table_and_of_the_game() -> None:
    objective, batch = begun("llamagen_vq"), a_batch(1)
    model, found = objective.model, objective.losses(batch)
    latents = model.latents(batch.images)
    own = table_losses(latents, model.quantizer.codes)
    pictures = model.decode_map(model.quantize(latents).vectors.mT.unflatten(2, (4, 4)))
    real, fake = (objective.adversary.discriminator(shown) for shown in (batch.images, pictures))
    expected = {
        "network": {
            "l2": 4 * (pictures - batch.images).square().mean(),
            "commitment": 0.25 * own["commitment"],
            "codebook": own["codebook"],
            "adversarial": -0.5 * fake.mean(),
        },
        "discriminator": {"real_or_not": 0.5 * ((1 - real).relu().mean() + (1 + fake).relu().mean())},
    }
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_fqgans_losses_are_sums_over_branches_and_what_keeps_and_draws_them() -> None:
    objective, batch = begun("fqgan"), a_batch(1)
    model, found = objective.model, objective.losses(batch)["network"]
    latents = model.latents(batch.images)
    parts = [table_losses(z, part.codes) for z, part in zip(latents.split(4, -1), model.quantizer.parts, strict=True)]
    for name, weight in (("commitment", 0.25), ("codebook", 1.0), ("entropy", 0.03)):
        torch.testing.assert_close(found[name], weight * (parts[0][name] + parts[1][name]), rtol=1e-4, atol=1e-6)
    vis, sem = model.quantize(latents).vectors.split(4, -1)
    torch.testing.assert_close(found["disentanglement"], 0.1 * (vis * sem).sum(-1).square().mean())
    (loss,) = objective.representation
    told, wanted = normalize(loss.head(sem)[:, 0], dim=1), normalize(loss.teacher.network(batch.images), dim=1)
    likeness = (told @ wanted.T).exp()
    expected = -(likeness.diagonal() / likeness.sum(1)).log().mean()
    torch.testing.assert_close(found["representation_sem"], 0.5 * expected)


@every_case
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_reach_all_that_is_trained_and_losses_are_finite_float32_scalars(case: str, precision: torch.dtype) -> None:
    objective = begun(case)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        losses = objective.losses(a_batch())
    total(losses).backward()
    for own in losses.values():
        assert all(value.shape == () and value.dtype == torch.float32 and bool(value.isfinite()) for value in own.values())
    gradients = {name: parameter.grad for name, parameter in objective.named_parameters()}
    assert [name for name, value in gradients.items() if value is None or not bool(value.isfinite().all())] == []
    trained = [parameter for group in objective.groups for parameter in group.parameters]
    assert len(trained) == len(gradients)


@every_case
def test_a_few_steps_lower_what_pictures_miss(case: str) -> None:
    objective, batch = begun(case, adversary=None), a_batch()
    stepper = Stepper(objective, TrainConfig(steps=30), Accelerator(cpu=True))
    with torch.no_grad():
        before = figures(objective, batch)
    for step in range(30):
        stepper.step(step, [batch])
        objective.after_step(step, objective.model)
    with torch.no_grad():
        after = figures(objective, batch)
    assert after["network/l2"] < 0.7 * before["network/l2"]
    assert all(after[name] < before[name] for name in before if "representation" in name)


def test_heads_are_trained_and_saved_with_the_run_and_not_with_the_tokenizer() -> None:
    objective = begun("fqgan")
    assert not any("head" in name and "branches" not in name for name in objective.model.state_dict())
    beside = {name for name in objective.state_dict() if name.startswith("representation.")}
    assert beside
    assert all(".head." in name for name in beside)  # what it is drawn to is frozen and not saved


def test_heads_begin_as_the_seed_says() -> None:
    one, other = begun("fqgan"), begun("fqgan")
    for name, value in one.representation.state_dict().items():
        assert torch.equal(value, other.representation.state_dict()[name])


@torch.no_grad()
def test_branches_that_are_drawn_to_nothing_go_free() -> None:
    told = set(figures(begun("fqgan", representation=[]), a_batch()))
    assert not any("representation" in name for name in told)
    both = begun("fqgan", representation=[drawn_to("sem"), drawn_to("vis", weight=1.0)])
    assert {name for name in figures(both, a_batch()) if "representation" in name} == {
        "network/representation_sem",
        "network/representation_vis",
    }


@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        ([drawn_to("some")], ConfigError, "representation speaks of a branch some, the branches are vis, sem"),
        ([drawn_to("sem"), drawn_to("sem")], ConfigError, "representation speaks of a branch twice"),
        ([drawn_to("sem", heads=3)], ConfigError, "3 heads do not divide the 16 numbers of random"),
        ([drawn_to("sem", teacher="no/such-tower")], WeightsError, "no tower no/such-tower"),
    ],
)
def test_what_cannot_be_drawn_to_is_refused_before_the_run(wanted: Any, error: type[Exception], words: str) -> None:
    if "tower" in words:
        pytest.importorskip("transformers", reason="needs the extra `models`")
    with pytest.raises(error, match=words) as refused:
        made("fqgan", CASES["fqgan"] | {"representation": wanted})
    assert "\n" not in str(refused.value)


@every_case
def test_a_compiled_step_is_the_step(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are run as they were traced: a compiler behind them would take minutes."""
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled(module, backend="eager"))
    found = []
    for compile_it in (False, True):
        objective = begun(case)
        stepper = Stepper(objective, TrainConfig(steps=2, compile=compile_it), Accelerator(cpu=True))
        told = []
        for step in range(2):
            told.append(stepper.step(step, [a_batch(step)]))
            objective.after_step(step, objective.model)
        found.append(told)
    for (names_of_plain, plain), (names_of_compiled, other) in zip(*found, strict=True):
        assert names_of_plain == names_of_compiled
        torch.testing.assert_close(other, plain, rtol=1e-3, atol=0)


def test_two_processes_agree_with_one(tmp_path: Any) -> None:
    """But for norms of the discriminator and shares of codes over a batch, which each process has of its own."""
    sets = ["train.steps=3", "train.batch_size=4", "train.log_every=1", "train.image_every=0", "train.validation.every=0", "threads=1"]
    sets += ["train.trackers=[]", "fqgan.vq.entropy=0", "fqgan.adversary.first_step=1", "fqgan.adversary.discriminator={dim=32, depth=1}"]
    one = entries(run(load_config("smoke-fqgan", sets), TABLE, tmp_path / "one"))
    train_in_two("smoke-fqgan", tmp_path / "two", 3, sets)
    for found, expected in zip(entries(tmp_path / "two"), one, strict=True):
        for name in set(expected["loss"]) - {"network/entropy"}:
            assert found["loss"][name] == pytest.approx(expected["loss"][name], rel=1e-5)
        assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)
