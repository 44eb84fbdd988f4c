"""The objectives of the TiTok line: their losses by hand, what learns, lengths, noise, the adversary, captions."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import normalize

from tests.train.titok_settings import (
    ADVERSARY,
    CONTINUOUS,
    DIM,
    ON_PICTURES,
    SETTINGS,
    TOKENS,
    a_batch,
    begun,
    figures,
    forget,
    halves,
    lengths_of,
    total,
)
from vtok.models.decoders import DecodeOptions
from vtok.train.config import TrainConfig
from vtok.train.engine.steps import Stepper

every_case = pytest.mark.parametrize("case", SETTINGS)
every_case_on_pictures = pytest.mark.parametrize("case", ON_PICTURES)
FROZEN = {  # parts of the tokenizer that a training leaves as they are
    "stage 1 of titok": ("decoder.pixel_",),
    "stage 1 of one_d_piece": ("decoder.pixel_",),
    "stage 2 of titok": ("encoder.", "quantizer."),
    "stage 2 of one_d_piece": ("encoder.", "quantizer."),
}


def is_frozen(case: str, name: str) -> bool:
    return name.startswith(FROZEN.get(case, ()))


def a_stepper(objective: Any, steps: int, **train: Any) -> Stepper:
    return Stepper(objective, TrainConfig(steps=steps, **train), Accelerator(cpu=True))


def decoded(objective: Any, batch: Any, vectors: Tensor, lengths: Tensor) -> Tensor:
    options = objective.options(batch) if hasattr(objective, "options") else DecodeOptions()
    pictures: Tensor = objective.model.reconstruct(vectors, lengths, options).pictures
    return pictures


def squared(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).pow(2).mean()


# --- losses, by hand


def quantizer_losses(model: Any, images: Tensor, *, spherical: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """The nearest codes (B, N, D), and what they cost: 0.25 on the side of the latents."""
    z, codes = model.encoder(images), model.quantizer.codes[0]
    if spherical:
        z, codes = normalize(z, dim=-1), normalize(codes, dim=-1)
    chosen = codes[torch.cdist(z, codes[None].expand(len(z), -1, -1)).argmin(-1)]
    return chosen, {"commitment": 0.25 * squared(z, chosen), "codebook": squared(z, chosen)}


@torch.no_grad()
@pytest.mark.parametrize("case", ["stage 1 of titok", "stage 1 of one_d_piece"])
def test_the_first_stage_costs_cross_entropy_and_the_quantizers_losses_over_all_tokens(case: str) -> None:
    objective, batch = begun(case), a_batch(1)
    found = objective.losses(batch)
    model, proxy = objective.model, objective.proxy.network
    vectors, expected = quantizer_losses(model, batch.images, spherical=True)
    (lengths,) = lengths_of(objective, [1])
    log_shares = model.decoder.head(model.decoder.trunk(vectors[:, : lengths[0]], torch.tensor(lengths))).log_softmax(-1)
    ids = proxy.encode(batch.images).ids
    expected["proxy_codes"] = -log_shares.gather(2, ids).mean()
    assert lengths[0] < TOKENS or case == "stage 1 of titok"
    torch.testing.assert_close(found, {"network": expected})


@torch.no_grad()
@pytest.mark.parametrize("case", ["stage 2 of titok", "stage 2 of one_d_piece"])
def test_the_second_stage_costs_what_its_pictures_miss_and_nothing_for_the_quantizer(case: str) -> None:
    objective, batch = begun(case), a_batch(1)
    model = objective.model
    vectors, _ = quantizer_losses(model, batch.images, spherical=True)
    (lengths,) = lengths_of(objective, [1])
    shares = model.decoder.head(model.decoder.trunk(vectors, torch.tensor(lengths))).softmax(-1)
    maps = (shares @ model.decoder.pixel_quantizer.codes[0]).mT.unflatten(2, (4, 4))
    expected = squared(model.decoder.pixel_decoder(maps), batch.images)
    torch.testing.assert_close(objective.losses(batch), {"network": {"l2": expected}})


@torch.no_grad()
@pytest.mark.parametrize("case", ["titok_pixel", "tatitok"])
def test_one_stage_costs_what_pictures_miss_and_the_quantizers_losses(case: str) -> None:
    objective, batch = begun(case), a_batch(1)
    found = objective.losses(batch)
    vectors, expected = quantizer_losses(objective.model, batch.images, spherical=False)
    expected["l2"] = squared(decoded(objective, batch, vectors, torch.full((4,), TOKENS)), batch.images)
    torch.testing.assert_close(found, {"network": expected})


@torch.no_grad()
@pytest.mark.parametrize("case", CONTINUOUS)
def test_a_continuous_bottleneck_costs_what_a_sample_misses_and_its_distance_from_the_unit_normal(case: str) -> None:
    objective, batch = begun(case, kl=0.1), a_batch(1)
    mean, logvar = objective.model.encoder(batch.images).chunk(2, 2)
    vectors = mean + (0.5 * logvar).exp() * objective._noise(batch)
    expected = {
        "l2": squared(decoded(objective, batch, vectors, torch.full((4,), TOKENS)), batch.images),
        "kl": 0.1 * 0.5 * (mean.pow(2) + logvar.exp() - 1 - logvar).sum() / len(batch.images),  # over the batch alone
    }
    torch.testing.assert_close(objective.losses(batch), {"network": expected})


@torch.no_grad()
def test_weights_of_losses_are_those_of_the_settings() -> None:
    weights: dict[str, Any] = {"pictures": {"l2": 2.0, "lpips": 0}, "vq": {"commitment": 0.5, "codebook": 3.0}}
    plain, heavy = figures(begun("titok_pixel"), a_batch()), figures(begun("titok_pixel", **weights), a_batch())
    factors = {"network/l2": 2, "network/commitment": 2, "network/codebook": 3}
    assert heavy == pytest.approx({name: factors[name] * value for name, value in plain.items()})
    light, thrice = (figures(begun("titok_vae", kl=weight), a_batch())["network/kl"] for weight in (1e-6, 3e-6))
    assert thrice == pytest.approx(3 * light)


@torch.no_grad()
def test_both_decodes_of_a_pair_count() -> None:
    prefixes: dict[str, Any] = {"pair": {"rule": "pair", "of": {"rule": "list", "lengths": [2]}}, "all": "full"}
    prefixes["short"] = prefixes["pair"]["of"]
    found = {name: figures(begun("stage 2 of one_d_piece", prefix=prefix), a_batch()) for name, prefix in prefixes.items()}
    assert found["pair"]["network/l2"] == pytest.approx(found["all"]["network/l2"] + found["short"]["network/l2"])


@every_case
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_losses_are_finite_float32_scalars(case: str, precision: torch.dtype) -> None:
    changes: dict[str, Any] = {} if case not in ON_PICTURES else {"adversary": ADVERSARY | {"first_step": 0}}
    objective = begun(case, **changes)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        losses = objective.losses(a_batch())
        total(losses).backward()
    for own in losses.values():
        assert all(value.shape == () and value.dtype == torch.float32 and bool(value.isfinite()) for value in own.values())
    gradients = [parameter.grad for parameter in objective.parameters() if parameter.grad is not None]
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@torch.no_grad()
@every_case
def test_losses_of_a_batch_are_the_mean_of_those_of_its_halves(case: str) -> None:
    changes: dict[str, Any] = {} if case not in ON_PICTURES else {"adversary": ADVERSARY | {"first_step": 0, "lecam": 0}}
    objective = begun(case, **changes)
    whole = figures(objective, a_batch(num=6))
    first, second = (figures(objective, part) for part in halves(a_batch(num=6)))
    assert {name: (first[name] + second[name]) / 2 for name in whole} == pytest.approx(whole, rel=1e-5)


# --- what learns


@every_case
def test_gradients_reach_all_that_is_trained_and_nothing_else(case: str) -> None:
    objective = begun(case)
    total(objective.losses(a_batch())).backward()
    parameters = dict(objective.model.named_parameters())
    reached = {name for name, parameter in parameters.items() if parameter.grad is not None and parameter.grad.any()}
    assert reached == {name for name in parameters if not is_frozen(case, name)}
    assert {name for name, parameter in parameters.items() if parameter.requires_grad} == reached


@every_case
def test_steps_move_all_that_is_trained_and_nothing_else(case: str) -> None:
    objective = begun(case)
    model = objective.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stepper = a_stepper(objective, 2)
    for step in range(2):
        stepper.step(step, [a_batch(step)])
        objective.after_step(step, model)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if not is_frozen(case, name)}


def test_the_frozen_tokenizer_of_the_first_stage_stays_as_it_is() -> None:
    objective = begun("stage 1 of titok")
    proxy = objective.proxy.network
    before = {name: value.clone() for name, value in proxy.state_dict().items()}
    a_stepper(objective, 1).step(0, [a_batch()])
    assert all(torch.equal(before[name], value) for name, value in proxy.state_dict().items())
    assert not any(parameter.requires_grad for parameter in proxy.parameters())
    assert not any(name.startswith("proxy") for name in objective.state_dict())


@every_case
def test_a_few_steps_lower_the_losses_of_a_batch(case: str) -> None:
    objective = begun(case, prefix="full")
    stepper, batch = a_stepper(objective, 30), a_batch()

    def felt() -> float:
        return sum(value for name, value in figures(objective, batch).items() if name != "network/kl")

    with torch.no_grad():
        before = felt()
    for step in range(30):
        stepper.step(step, [replace(batch, step=step)])
        objective.after_step(step, objective.model)
    with torch.no_grad():
        assert felt() < 0.8 * before


@pytest.mark.parametrize("learning", ["gradient", "ema", "clustering"])
def test_codes_learn_in_each_way(learning: str) -> None:
    objective = begun("titok_pixel", vq={"learning": learning})
    before = objective.model.quantizer.codes.detach().clone()
    stepper = a_stepper(objective, 1)
    assert ("network/codebook" in figures(objective, a_batch())) == (learning != "ema")
    stepper.step(0, [a_batch()])
    objective.after_step(0, objective.model)
    assert not torch.equal(objective.model.quantizer.codes, before)
    assert objective.vq._coded == []


@every_case
def test_blocks_computed_again_give_the_same_gradients(case: str) -> None:
    found = []
    for again in (False, True):
        objective = begun(case)
        objective.model.set_gradient_checkpointing(again)
        total(objective.losses(a_batch())).backward()
        found.append({name: parameter.grad for name, parameter in objective.model.named_parameters()})
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("case", ["stage 1 of one_d_piece", "stage 2 of one_d_piece", "titok_vae", "tatitok"])
def test_a_compiled_step_is_the_step(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are run as they were traced: a compiler behind them would take minutes."""
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled(module, backend="eager"))
    changes: dict[str, Any] = {} if case not in ON_PICTURES else {"adversary": ADVERSARY | {"first_step": 1}}
    found = []
    for compile_it in (False, True):
        objective = begun(case, **changes)
        stepper = a_stepper(objective, 3, compile=compile_it)
        told: list[tuple[tuple[str, ...], Tensor]] = []
        for step in range(3):
            told.append(stepper.step(step, [a_batch(step)]))
            objective.after_step(step, objective.model)
        found.append(told)
    for (names_of_plain, plain), (names_of_compiled, other) in zip(*found, strict=True):
        assert names_of_plain == names_of_compiled
        torch.testing.assert_close(other, plain, rtol=1e-3, atol=0)  # AdamW makes much of rounding


def test_what_was_coded_is_kept_until_the_step_ends() -> None:
    objective = begun("titok_pixel")
    for part in halves(a_batch()):
        objective.losses(part)
    assert sum(len(latents) for latents, _ in objective.vq._coded) == 4
    forget(objective)


# --- lengths


def test_a_tail_is_cut_by_one_draw_a_step_from_1_to_all() -> None:
    objective = begun("stage 1 of one_d_piece")
    drawn = lengths_of(objective, range(120))
    assert all(len(set(lengths)) == 1 for lengths in drawn)
    seen = [lengths[0] for lengths in drawn]
    assert set(seen) == set(range(1, TOKENS + 1))
    assert max(seen.count(length) for length in set(seen)) < 40  # of 20 expected
    assert seen != [lengths[0] for lengths in lengths_of(begun("stage 1 of one_d_piece", seed=1), range(120))]


@pytest.mark.parametrize("case", ["stage 1 of one_d_piece", "stage 2 of one_d_piece"])
def test_a_draw_does_not_depend_on_how_the_batch_is_split(case: str) -> None:
    for prefix in ("tail_drop", "uniform"):
        objective = begun(case, prefix=prefix)
        spec = objective.model.spec
        for step in range(5):
            (whole,) = objective.lengths(a_batch(step, 6), spec)
            parts = [objective.lengths(part, spec)[0] for part in halves(a_batch(step, 6))]
            assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("case", [case for case in SETTINGS if "one_d_piece" not in case])
def test_strings_of_one_length_are_decoded_whole_whatever_the_rule(case: str) -> None:
    prefix = "full" if case == "stage 1 of titok" else "uniform"
    assert lengths_of(begun(case, prefix=prefix), range(4)) == [[TOKENS] * 4] * 4


def test_the_tail_says_nothing_to_the_first_loss_but_costs_as_latents() -> None:
    objective = begun("stage 1 of one_d_piece", prefix={"rule": "list", "lengths": [2]})
    losses = objective.losses(a_batch())["network"]
    latents: list[Tensor] = []
    objective.model.encoder.register_forward_hook(lambda _, __, out: latents.append(out.retain_grad() or out))
    for name in ("proxy_codes", "commitment"):
        losses = objective.losses(a_batch())["network"]
        losses[name].backward()
        gradient = latents[-1].grad
        assert gradient is not None
        assert gradient.any(2).any(0).tolist() == [True, True] + [name == "commitment"] * 4


# --- noise


@pytest.mark.parametrize("case", CONTINUOUS)
def test_noise_is_each_samples_own_by_seed_step_and_index(case: str) -> None:
    objective = begun(case)
    whole = objective._noise(a_batch(3, 6))
    assert whole.shape == (6, TOKENS, DIM)
    assert torch.equal(torch.cat([objective._noise(part) for part in halves(a_batch(3, 6))]), whole)
    assert torch.equal(objective._noise(a_batch(3, 4)), whole[:4])
    assert not torch.equal(objective._noise(a_batch(4, 6)), whole)
    assert not torch.equal(begun(case, seed=1)._noise(a_batch(3, 6)), whole)
    assert len({tuple(own.flatten().tolist()) for own in whole}) == 6


@pytest.mark.parametrize("case", CONTINUOUS)
def test_noise_is_a_unit_normals(case: str) -> None:
    objective = begun(case)
    drawn = torch.cat([objective._noise(a_batch(step, 8)) for step in range(20)]).flatten()
    error = 4 / math.sqrt(len(drawn))
    assert abs(float(drawn.mean())) < error
    assert float(drawn.std()) == pytest.approx(1, abs=error)


# --- the adversary


@every_case_on_pictures
def test_the_discriminator_begins_at_its_first_step(case: str) -> None:
    objective = begun(case, adversary=ADVERSARY)
    assert [(group.name, group.first_step) for group in objective.groups] == [("network", 0), ("discriminator", 2)]
    told = [set(figures(objective, a_batch(step))) for step in range(4)]
    judged = {"network/adversarial", "discriminator/real_or_not", "discriminator/lecam"}
    assert told == [told[0]] * 2 + [told[0] | judged] * 2
    assert not told[0] & judged
    stepper = a_stepper(objective, 4)
    weight, moves = next(objective.adversary.parameters()), []
    for step in range(4):
        before = weight.detach().clone()
        stepper.step(step, [a_batch(step)])
        objective.after_step(step, objective.model)
        moves.append(not torch.equal(weight, before))
    assert moves == [False, False, True, True]
    assert objective.state_dict()["adversary.lecam.real"]


@every_case_on_pictures
def test_each_side_of_the_game_reaches_its_own_parameters_alone(case: str) -> None:
    objective = begun(case, adversary=ADVERSARY | {"first_step": 0})
    losses = objective.losses(a_batch())
    own, others = list(objective.adversary.parameters()), list(objective.model.parameters())
    losses["network"]["adversarial"].backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in own)
    assert any(parameter.grad is not None for parameter in others)
    objective.zero_grad()
    total({"discriminator": losses["discriminator"]}).backward()
    assert all(parameter.grad is not None for parameter in own)
    assert all(parameter.grad is None for parameter in others)


@torch.no_grad()
def test_the_adversarial_losses_are_the_fixed_weight_and_the_hinge() -> None:
    objective, batch = begun("titok_pixel", adversary=ADVERSARY | {"first_step": 0}), a_batch()
    found = objective.losses(batch)
    vectors, _ = quantizer_losses(objective.model, batch.images, spherical=False)
    pictures = decoded(objective, batch, vectors, torch.full((4,), TOKENS))
    real, fake = (objective.adversary.discriminator(own) for own in (batch.images, pictures))
    torch.testing.assert_close(found["network"]["adversarial"], -0.1 * fake.mean())
    torch.testing.assert_close(found["discriminator"]["real_or_not"], 0.5 * ((1 - real).relu().mean() + (1 + fake).relu().mean()))
    torch.testing.assert_close(found["discriminator"]["lecam"], 0.5 * (real.mean().relu() ** 2 + (-fake.mean()).relu() ** 2))


@torch.no_grad()
def test_the_discriminator_judges_the_last_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = {"rule": "pair", "of": {"rule": "list", "lengths": [1]}}
    objective = begun("stage 2 of one_d_piece", prefix=prefix, adversary=ADVERSARY | {"first_step": 0})
    seen: list[Tensor] = []
    told = objective.adversary.losses_of_discriminator

    def noting(images: Tensor, pictures: Tensor) -> dict[str, Tensor]:
        seen.append(pictures)
        losses: dict[str, Tensor] = told(images, pictures)
        return losses

    monkeypatch.setattr(objective.adversary, "losses_of_discriminator", noting)
    batch = a_batch()
    objective.losses(batch)
    vectors, _ = quantizer_losses(objective.model, batch.images, spherical=True)
    torch.testing.assert_close(seen[0], decoded(objective, batch, vectors, torch.ones(4, dtype=torch.int64)))


# --- captions


@torch.no_grad()
@pytest.mark.parametrize("case", ["tatitok", "tatitok_vae"])
def test_captions_reach_the_decoder(case: str) -> None:
    objective, batch = begun(case), a_batch()
    other = replace(batch, captions=("something else",) * 4)
    assert figures(objective, batch) != pytest.approx(figures(objective, other))
    text = objective.options(batch).text
    assert isinstance(text, Tensor)
    assert text.shape == (4, 40, 8)
    assert not any(name.startswith("tower") for name in objective.state_dict())
