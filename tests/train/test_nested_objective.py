"""`nested` trained: what each loss reaches, which lengths are decoded, codes, the adversary, starts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from tests.tokenizers.starts import awake, linear_on_taef2
from tests.train.toy import ToyTokenizer
from vtok.errors import ConfigError, DataError, LengthError, VtokError, WeightsError
from vtok.eval.pairs.lpips import VARIABLE
from vtok.models.quantizers.codebook_training import CodebookTraining
from vtok.models.quantizers.vq import VectorQuantizer
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.nested import NestedTokenizer
from vtok.train.config import DataConfig, TrainConfig, check
from vtok.train.engine.steps import Stepper
from vtok.train.losses.picture_losses import PictureTarget
from vtok.train.objectives.linear import LinearObjective
from vtok.train.objectives.nested import NestedObjective, NestedObjectiveConfig
from vtok.train.samples.batch import Batch
from vtok.train.samples.pictures import open_pictures

SIZES = {"dim": 8, "depth": 2, "heads": 2}
SMALL: dict[str, Any] = {
    "model": {"patch_size": 4, "num_registers": 3, "encoder": SIZES, "decoder": SIZES},
    "pictures": {"lpips": 0, "l2": 30},
    "network": {"learning_rate": 3e-3, "warmup_steps": 0},
    "codes": {"learning_rate": 1e-3, "warmup_steps": 0},
    "linear": {
        "autoencoder": "pixels",
        "tile_size": 16,
        "codebook_size": 16,
        "stages": [{"tokens": 4}],
        "num_tiles": 300,
        "rounds": 1,
        "metric": {"kind": "latents"},
    },
}
RANDOM = SMALL | {"start": "random"}
VQ = {"kind": "vq", "num_tokens": 4, "dim": 3, "codebook_size": 16}
QUANTIZERS: dict[str, dict[str, Any]] = {
    "one table": VQ,
    "a table for each token": VQ | {"shared": False},
    "on the sphere": VQ | {"kind": "spherical_vq"},
    "levels": {"kind": "fsq", "num_tokens": 4, "levels": [5, 4]},
}
PATCH = {"kind": "patch", "dim": 16, "depth": 1}
ADVERSARY = {"discriminator": PATCH, "first_step": 2, "warmup_steps": 3}
SYNTHETIC = DataConfig(kind="synthetic", num_synthetic=6)


@pytest.fixture(scope="module")
def on_taef2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a nested model on latents none of whose parts is still at zero."""
    folder = tmp_path_factory.mktemp("starts") / "nested"
    sizes = {"patch_size": 1, "num_registers": 3, "encoder": SIZES, "decoder": SIZES}
    awake(NestedTokenizer.start_from(linear_on_taef2(), **sizes)).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def on_pixels(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("starts") / "pixels"
    awake(NestedTokenizer.tiny()).save_pretrained(folder)
    return str(folder)


def an_objective(**settings: Any) -> NestedObjective:
    return NestedObjective(check(NestedObjectiveConfig, SMALL | settings, "[nested]"))


def begun(**settings: Any) -> NestedObjective:
    objective = an_objective(**settings)
    tokenizer = objective.prepare(open_pictures(SYNTHETIC, 0), torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    objective.begin(tokenizer, seed=0)
    return objective


def a_batch(step: int = 0, num: int = 4, size: int = 32) -> Batch:
    coarse = torch.rand(num, 3, 8, 8, generator=torch.Generator().manual_seed(step))
    return Batch(nn.functional.interpolate(coarse, (size, size), mode="bilinear"), None, torch.arange(num), step)


def halves(batch: Batch) -> list[Batch]:
    half = len(batch.images) // 2
    parts = (slice(0, half), slice(half, None))
    return [replace(batch, images=batch.images[part], indices=batch.indices[part]) for part in parts]


def total(objective: NestedObjective, batch: Batch) -> Tensor:
    return torch.stack([value for own in objective.losses(batch).values() for value in own.values()]).sum()


def figures(objective: NestedObjective, batch: Batch) -> dict[str, float]:
    return {f"{group}/{name}": float(value.detach()) for group, own in objective.losses(batch).items() for name, value in own.items()}


def lengths_decoded(objective: NestedObjective, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    seen: list[Tensor] = []
    decode = objective.model.decode_map

    def noting(vectors: Tensor, lengths: Tensor, rows: int, cols: int) -> Any:
        seen.append(lengths)
        return decode(vectors, lengths, rows, cols)

    with monkeypatch.context() as patch:
        patch.setattr(objective.model, "decode_map", noting)
        objective.losses(batch)
    return seen


# --- what is trained


def test_gradients_reach_all_that_is_trained_and_nothing_else(on_taef2: str) -> None:
    objective = begun(start=on_taef2, prefix={"rule": "pair", "of": "uniform"})
    total(objective, a_batch(num=8)).backward()
    names = {name for name, parameter in objective.model.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    expected = {name for name, _ in objective.model.named_parameters() if not name.startswith(("autoencoder.encoder.", "linear."))}
    blind = {name for name in expected if name.startswith("encoder.transformer.blocks.1.conv")}  # only patches hear of it
    assert names == expected - blind
    assert all(bool(parameter.grad.isfinite().all()) for parameter in objective.model.parameters() if parameter.grad is not None)


def test_the_groups_are_the_networks_the_autoencoders_decoder_and_the_codes(on_taef2: str) -> None:
    objective = begun(start=on_taef2)
    names = {id(parameter): name for name, parameter in objective.model.named_parameters()}
    members = {group.name: {names[id(parameter)].split(".")[0] for parameter in group.parameters} for group in objective.groups}
    assert members == {
        "network": {"encoder", "decoder", "fill"},
        "autoencoder_decoder": {"autoencoder"},
        "codes": {"quantizer"},
    }
    trained = {name for name, parameter in objective.model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name in names.values() if not name.startswith(("autoencoder.encoder.", "linear."))}


def test_a_prefix_trains_the_encoder_for_what_its_tokens_speak_of_alone(on_pixels: str) -> None:
    objective = begun(start=on_pixels, prefix={"rule": "list", "lengths": [3]})
    total(objective, a_batch()).backward()
    tokenizer = objective.model
    assert tokenizer.encoder.head.grad is not None
    covered = tokenizer.covered(torch.tensor([3]))[0]
    assert torch.equal(tokenizer.encoder.head.grad.any(2).flatten()[: len(covered)], covered)


@pytest.mark.parametrize("start", ["on_taef2", "on_pixels"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_losses_are_finite_float32_scalars(start: str, precision: torch.dtype, request: pytest.FixtureRequest) -> None:
    objective = begun(start=request.getfixturevalue(start), adversary=ADVERSARY | {"first_step": 0, "warmup_steps": 0})
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        losses = objective.losses(a_batch())
    assert {group: set(own) for group, own in losses.items()} == {
        "network": {"l2", "alignment", "adversarial"},
        "discriminator": {"real_or_not"},
    }
    for own in losses.values():
        assert all(value.shape == () and value.dtype == torch.float32 and bool(value.isfinite()) for value in own.values())


@pytest.mark.parametrize("quantizer", ["one table", "levels"])
def test_losses_of_a_batch_are_the_mean_of_those_of_its_halves(quantizer: str) -> None:
    adversary = ADVERSARY | {"first_step": 0, "warmup_steps": 0}
    objective = begun(**RANDOM, quantizer=QUANTIZERS[quantizer], spread=1.0, adversary=adversary)
    nn.init.normal_(objective.model.decoder.head.weight, std=0.1)
    whole = figures(objective, a_batch(num=6))
    first, second = (figures(objective, part) for part in halves(a_batch(num=6)))
    assert {name: (first[name] + second[name]) / 2 for name in whole} == pytest.approx(whole, rel=1e-5)


def test_an_objective_without_a_linear_part_uses_all_that_it_trains() -> None:
    """But for the last convolution of the encoder, whose output nothing reads."""
    objective = begun(**RANDOM, quantizer=QUANTIZERS["levels"])
    total(objective, a_batch()).backward()
    idle = {name for name, parameter in objective.model.named_parameters() if parameter.requires_grad and parameter.grad is None}
    assert {name.rsplit(".", 2)[1] for name in idle} <= {"conv", "conv_norm"}
    assert all(name.startswith("encoder.transformer.blocks.1.") for name in idle)


def test_blocks_computed_again_give_the_same_gradients(on_pixels: str) -> None:
    found = []
    for again in (False, True):
        objective = begun(start=on_pixels)
        objective.model.set_gradient_checkpointing(again)
        total(objective, a_batch()).backward()
        found.append({name: parameter.grad for name, parameter in objective.model.named_parameters()})
    torch.testing.assert_close(found[1], found[0])


def test_latents_that_come_with_the_batch_are_not_made_again(on_taef2: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = begun(start=on_taef2)
    batch = a_batch()
    latents = objective.model.autoencoder.encode(batch.images)
    expected = figures(objective, batch)
    monkeypatch.setattr(objective.model.autoencoder, "encode", None)
    assert figures(objective, replace(batch, latents=latents)) == pytest.approx(expected)
    assert figures(objective, replace(batch, latents=latents + 1)) != pytest.approx(expected)


@pytest.mark.parametrize(
    ("size", "settings", "words"),
    [
        (40, {}, r"data\.crop_size is 40 pixels, expected a multiple of the tokenizer's tile of 16"),
        (40, RANDOM | {"quantizer": VQ}, r"expected a multiple of the tokenizer's tile of 16"),
        (16, {"adversary": {}}, r"a discriminator of this depth needs 32; lower nested\.adversary\.discriminator\.depth"),
        (32, {"prefix": {"rule": "list", "lengths": [1, 5]}}, "5 tokens do not decode"),
        (32, {"prefix": {"rule": "pair", "of": {"rule": "list", "lengths": [5]}}}, "5 tokens do not decode"),
        (32, RANDOM | {"quantizer": VQ | {"num_tokens": 2}, "prefix": {"rule": "list", "lengths": [3]}}, "3 tokens do not decode"),
    ],
)
def test_what_cannot_be_trained_is_said_before_the_start_is_made(size: int, settings: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigError, LengthError), match=words):
        an_objective(**settings).check(DataConfig(crop_size=size))


def test_sizes_of_a_loaded_start_are_checked(on_pixels: str) -> None:
    with pytest.raises(ConfigError, match="crop_size is 40 pixels"):
        an_objective(start=on_pixels).check(DataConfig(crop_size=40))


def test_lpips_needs_larger_squares(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(shared / "data" / "weights" / "lpips_alex.safetensors"))
    with pytest.raises(ConfigError, match=r"LPIPS takes 31 and more; set nested\.pictures\.lpips = 0"):
        an_objective(pictures={"lpips": 1}).check(DataConfig(crop_size=16))


# --- lengths


def test_networks_judge_short_prefixes_less(on_pixels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = begun(start=on_pixels, prefix={"rule": "pair", "of": {"rule": "list", "lengths": [1, 2, 8]}}, networks_from=4)
    batch = a_batch()
    seen: list[Tensor] = []
    judged = objective.pictures.forward

    def noting(pictures: Tensor, target: PictureTarget, shares: Tensor) -> dict[str, Tensor]:
        seen.append(shares)
        return judged(pictures, target, shares)

    monkeypatch.setattr(objective.pictures, "forward", noting)
    decoded = lengths_decoded(objective, batch, monkeypatch)
    assert torch.equal(seen[0], torch.ones(len(batch.images)))
    assert torch.equal(seen[1], (decoded[1].view(len(batch.images), -1)[:, 0] / 4).clamp(max=1).square())
    assert set(seen[1].tolist()) <= {0.0625, 0.25, 1.0}


def test_a_pair_decodes_all_tokens_first(on_pixels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = begun(start=on_pixels, prefix={"rule": "pair", "of": {"rule": "list", "lengths": [3]}})
    full, prefix = lengths_decoded(objective, a_batch(), monkeypatch)
    assert full.tolist() == [8] * 16  # four pictures of four tiles
    assert prefix.tolist() == [3] * 16


def test_the_losses_of_a_pair_are_those_of_both_decodes_together(on_pixels: str) -> None:
    prefix = {"rule": "list", "lengths": [3]}
    rules = ({"rule": "pair", "of": prefix}, "full", prefix)
    pair, full, alone = (figures(begun(start=on_pixels, prefix=rule), a_batch())["network/l2"] for rule in rules)
    assert pair == pytest.approx(full + alone)


def test_a_single_rule_decodes_once(on_pixels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = begun(start=on_pixels, prefix={"rule": "list", "lengths": [2]})
    assert [own.tolist() for own in lengths_decoded(objective, a_batch(), monkeypatch)] == [[2] * 16]
    assert "alignment" not in objective.losses(a_batch())["network"]


def test_all_tiles_of_a_picture_have_its_length_and_pictures_their_own(on_pixels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, prefix = lengths_decoded(begun(start=on_pixels), a_batch(num=16), monkeypatch)
    tiles = prefix.view(16, 4)
    assert bool((tiles == tiles[:, :1]).all())
    assert len(tiles[:, 0].unique()) > 3


def test_alignment_is_nothing_between_equal_lengths(on_pixels: str) -> None:
    equal, other = (
        begun(start=on_pixels, prefix={"rule": "pair", "of": {"rule": "list", "lengths": [length]}}).losses(a_batch())["network"]
        for length in (8, 1)
    )
    assert abs(float(equal["alignment"].detach())) < 1e-6
    assert float(other["alignment"].detach()) > 1e-3


def test_alignment_does_not_pull_at_the_full_string(on_pixels: str) -> None:
    objective = begun(start=on_pixels, prefix={"rule": "pair", "of": {"rule": "list", "lengths": [2]}})
    objective.losses(a_batch())["network"]["alignment"].backward()
    codes = objective.model.quantizer.codes
    assert isinstance(codes, nn.Parameter)
    assert codes.grad is not None
    assert codes.grad.any(0).tolist() == [True, True] + [False] * 11  # a column for each component of a token, tokens in order


def test_without_a_weight_there_is_no_alignment(on_pixels: str) -> None:
    assert set(begun(start=on_pixels, alignment=0).losses(a_batch())["network"]) == {"l2"}
    one, three = (begun(start=on_pixels, alignment=weight).losses(a_batch())["network"]["alignment"] for weight in (1, 3))
    torch.testing.assert_close(three, 3 * one)


def spread_lengths(objective: NestedObjective, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    full, prefix = lengths_decoded(objective, batch, monkeypatch)
    assert set(full.tolist()) == {8}
    return prefix


def test_tiles_spread_around_the_length_of_their_picture(on_pixels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = {"rule": "pair", "of": {"rule": "list", "lengths": [4]}}
    drawn = {}
    for spread in (0.5, 3.0):
        objective = begun(start=on_pixels, prefix=prefix, spread=spread)
        drawn[spread] = torch.cat([spread_lengths(objective, a_batch(step, num=8), monkeypatch) for step in range(8)])
    assert set(drawn[0.5].tolist()) == {3, 4, 5, 6}  # 4 times 2**-0.5 to 2**0.5
    assert set(drawn[3.0].tolist()) == set(range(1, 9))
    by_picture = drawn[3.0].view(-1, 4)
    assert bool((by_picture != by_picture[:, :1]).any(1).float().mean() > 0.5)


def test_the_spread_does_not_depend_on_how_the_batch_is_split(on_pixels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = begun(start=on_pixels, spread=2.0)
    whole = spread_lengths(objective, a_batch(3, num=6), monkeypatch)
    parts = [spread_lengths(objective, part, monkeypatch) for part in halves(a_batch(3, num=6))]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(spread_lengths(objective, replace(a_batch(3, num=6), step=4), monkeypatch), whole)


# --- learning


def a_stepper(objective: Any, steps: int) -> Stepper:
    return Stepper(objective, TrainConfig(steps=steps), Accelerator(cpu=True))


def trained(objective: NestedObjective, steps: int, seen: Callable[[int], Batch] = a_batch) -> list[float]:
    """Losses of a fixed batch, before and after so many steps."""
    stepper = a_stepper(objective, steps)
    watched = a_batch(1000, num=8)
    with torch.no_grad():
        before = float(total(objective, watched))
        objective.vq._coded.clear()
    for step in range(steps):
        stepper.step(step, [seen(step)])
        objective.after_step(step, objective.model)
    with torch.no_grad():
        return [before, float(total(objective, watched))]


@pytest.mark.parametrize("start", ["on_taef2", "on_pixels"])
def test_a_few_steps_lower_the_loss(start: str, request: pytest.FixtureRequest) -> None:
    before, after = trained(begun(start=request.getfixturevalue(start)), 20)
    assert after < 0.9 * before


def test_training_improves_on_the_linear_start() -> None:
    objective = begun(prefix={"rule": "list", "lengths": [1]}, pictures={"lpips": 0, "l2": 1})
    before, after = trained(objective, 30)
    assert after < 0.97 * before


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_random_start_trains_with_any_quantizer(quantizer: str) -> None:
    objective = begun(**RANDOM, quantizer=QUANTIZERS[quantizer])
    assert objective.model.linear is None
    before, after = trained(objective, 20)
    assert after < 0.9 * before


def test_a_random_start_is_the_same_for_the_same_seed() -> None:
    made = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        made.append(begun(**RANDOM, quantizer=VQ).model.state_dict())
    assert all(torch.equal(value, made[1][name]) for name, value in made[0].items())


@pytest.mark.parametrize(("learning", "names"), [("gradient", {"commitment", "codebook"}), ("ema", {"commitment"})])
def test_the_losses_of_the_codes_come_with_their_weights(learning: str, names: set[str]) -> None:
    one, three = (
        begun(**RANDOM, quantizer=VQ, vq={"learning": learning, "commitment": weight, "codebook": weight}).losses(a_batch())["network"]
        for weight in (1, 3)
    )
    assert set(one) == {"l2", "alignment"} | names
    for name in names:
        torch.testing.assert_close(three[name], 3 * one[name])


@pytest.mark.parametrize("quantizer", ["one table", "a table for each token", "on the sphere"])
def test_the_first_codes_are_where_latents_are(quantizer: str) -> None:
    tokenizer = begun(**RANDOM, quantizer=QUANTIZERS[quantizer]).model.eval()
    ids = torch.cat([tokenizer.encode_grid(a_batch(step).images).ids for step in range(20)])
    assert len(ids.unique()) >= 12  # of 16


def test_pictures_without_a_tile_are_one_line() -> None:
    objective = an_objective(**RANDOM | {"linear": SMALL["linear"] | {"tile_size": 64}}, quantizer=VQ)
    small = open_pictures(SYNTHETIC.model_copy(update={"max_side": 48}), 0)
    with pytest.raises(DataError, match="no picture has 64 x 64 pixels, one tile"):
        objective.prepare(small, torch.Generator().manual_seed(0))


def test_fewer_latents_than_codes_are_one_line() -> None:
    with pytest.raises(DataError, match="6144 latents found, 65536 codes need at least as many"):
        begun(**RANDOM, quantizer=VQ | {"codebook_size": 65536})


def test_tables_of_a_nested_start_are_fitted_anew_where_asked(on_pixels: str) -> None:
    kept, anew = (begun(start=on_pixels, refit_below=share).model.quantizer.get_parameter("codes") for share in (0.0, 1.0))
    assert torch.equal(kept, NestedTokenizer.from_pretrained(on_pixels).quantizer.get_parameter("codes"))
    assert not torch.equal(anew, kept)


def dead(objective: NestedObjective) -> VectorQuantizer:
    """Put half of the codes where nothing reaches them, and have them known as dead."""
    quantizer = objective.model.quantizer
    assert isinstance(quantizer, VectorQuantizer)
    (learning,) = objective.vq.learning
    assert isinstance(learning, CodebookTraining)
    assert learning.dead_codes is not None
    with torch.no_grad():
        quantizer.codes[:, 8:] = 1e4
    learning.dead_codes.usage[:, 8:] = 0
    return quantizer


@pytest.mark.parametrize("learning", ["gradient", "ema"])
def test_dead_codes_come_back_to_where_latents_are(learning: str) -> None:
    objective = begun(**RANDOM, quantizer=VQ, vq={"learning": learning})
    quantizer = dead(objective)
    average = begun(**RANDOM, quantizer=VQ).model
    averaged = average.quantizer
    assert isinstance(averaged, VectorQuantizer)
    objective.losses(a_batch())
    before = averaged.codes.detach().clone()
    objective.after_step(0, average)
    assert float(quantizer.codes.detach().abs().max()) < 1e3
    assert torch.equal(averaged.codes[:, 8:], quantizer.codes[:, 8:])
    assert torch.equal(averaged.codes[:, :8], before[:, :8])


def test_codes_are_revived_alike_however_the_batch_is_split() -> None:
    found = []
    for split in (lambda batch: [batch], halves):
        objective = begun(**RANDOM, quantizer=VQ)
        quantizer = dead(objective)
        for part in split(a_batch()):
            objective.losses(part)
        objective.after_step(0, objective.model)
        found.append(quantizer.codes.detach().clone())
    torch.testing.assert_close(found[1], found[0])


def test_what_a_step_coded_is_forgotten_after_it() -> None:
    objective = begun(**RANDOM, quantizer=VQ)
    for step in range(3):
        objective.losses(a_batch(step))
        objective.after_step(step, objective.model)
        assert objective.vq._coded == []


# --- the adversary


@pytest.mark.parametrize("norm", ["group", "spectral"])
def test_both_sides_are_trained_in_one_backward_pass(on_pixels: str, norm: str) -> None:
    objective = begun(start=on_pixels, adversary=ADVERSARY | {"discriminator": PATCH | {"norm": norm}})
    total(objective, replace(a_batch(), step=5)).backward()
    assert objective.adversary is not None
    assert all(parameter.requires_grad and parameter.grad is not None for parameter in objective.adversary.parameters())


def test_the_adversary_begins_at_its_first_step_and_is_felt_after_its_warmup(on_pixels: str) -> None:
    objective = begun(start=on_pixels, adversary=ADVERSARY)
    assert [group.first_step for group in objective.groups] == [0, 0, 2]
    told = [set(figures(objective, a_batch(step))) for step in range(7)]
    plain = {"network/l2", "network/alignment"}
    learning = plain | {"discriminator/real_or_not"}
    assert told == [plain] * 2 + [learning] * 3 + [learning | {"network/adversarial"}] * 2


def test_the_discriminator_stands_still_before_its_first_step(on_pixels: str) -> None:
    objective = begun(start=on_pixels, adversary=ADVERSARY)
    assert objective.adversary is not None
    stepper = a_stepper(objective, 10)
    weight = next(objective.adversary.parameters())
    moves = []
    for step in range(4):
        before = weight.detach().clone()
        stepper.step(step, [a_batch(step)])
        moves.append(not torch.equal(weight, before))
    assert moves == [False, False, True, True]


def test_what_the_adversary_dislikes_reaches_the_encoder_and_the_decoder(on_pixels: str) -> None:
    objective = begun(start=on_pixels, adversary=ADVERSARY)
    objective.losses(a_batch(6))["network"]["adversarial"].backward()
    for parameter in (objective.model.encoder.head, objective.model.decoder.head.weight):
        assert parameter.grad is not None
        assert bool(parameter.grad.any())


def test_the_adversarial_loss_has_its_weight(on_pixels: str) -> None:
    light, heavy = (figures(begun(start=on_pixels, adversary=ADVERSARY | {"weight": weight}), a_batch(6)) for weight in (0.1, 0.4))
    assert heavy["network/adversarial"] == pytest.approx(4 * light["network/adversarial"])
    assert heavy["discriminator/real_or_not"] == pytest.approx(light["discriminator/real_or_not"])


@pytest.mark.parametrize("quantizer", ["one table", "levels"])
def test_what_the_discriminator_saw_moves_its_running_means_after_a_step(quantizer: str) -> None:
    adversary = ADVERSARY | {"first_step": 0, "lecam": 0.1, "lecam_decay": 0.5}
    objective = begun(**RANDOM, quantizer=QUANTIZERS[quantizer], adversary=adversary)
    assert set(objective.losses(a_batch())["discriminator"]) == {"real_or_not", "lecam"}
    assert not objective.state_dict()["adversary.lecam.real"]
    objective.after_step(0, objective.model)
    assert objective.state_dict()["adversary.lecam.real"]


# --- starts


def test_a_fitted_linear_coder_is_the_start() -> None:
    objective = an_objective()
    pictures = open_pictures(SYNTHETIC, 0)
    made = objective.prepare(pictures, torch.Generator().manual_seed(0))
    assert isinstance(made, NestedTokenizer)
    linear = LinearObjective(objective.config.linear).prepare(pictures, torch.Generator().manual_seed(0))
    images = a_batch().images
    assert torch.equal(made.encode_grid(images).ids, linear.encode_grid(images).ids)
    assert made.config.num_registers == 3


def test_a_folder_of_a_linear_model_is_the_start(tmp_path: Path) -> None:
    LinearTokenizer.tiny().save_pretrained(tmp_path / "linear")
    tokenizer = begun(start=str(tmp_path / "linear")).model.eval()
    images = a_batch().images
    assert torch.equal(tokenizer.encode_grid(images).ids, LinearTokenizer.tiny().encode_grid(images).ids)
    assert tokenizer.config.patch_size == 4


def test_a_folder_of_a_nested_model_is_trained_on(on_taef2: str) -> None:
    tokenizer = begun(start=on_taef2).model
    expected = Tokenizer.from_pretrained(on_taef2)
    assert tokenizer.config == expected.config
    assert all(torch.equal(value, expected.state_dict()[name]) for name, value in tokenizer.state_dict().items())


def test_a_start_is_no_part_of_what_is_kept_in_checkpoints(on_pixels: str) -> None:
    assert {name.split(".")[0] for name in begun(start=on_pixels).state_dict()} == {"model"}


def nothing(folder: Path) -> None:
    assert not folder.exists()


def other_family(folder: Path) -> None:
    ToyTokenizer.tiny().save_pretrained(folder)


def damaged(folder: Path) -> None:
    LinearTokenizer.tiny().save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"nothing")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(nothing, "no such file or folder"), (Path.mkdir, "config.json"), (damaged, "damaged"), (other_family, "a toy model")],
)
def test_a_start_that_is_none_is_one_line(spoil: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    spoil(tmp_path / "start")
    with pytest.raises(VtokError, match=words) as error:
        an_objective(start=str(tmp_path / "start"))
    assert isinstance(error.value, ConfigError | WeightsError)
    assert str(error.value).startswith('start = "')
    assert "\n" not in str(error.value)


def test_patches_that_do_not_fit_are_found_before_the_fit() -> None:
    with pytest.raises(ConfigError, match="tile_size 16 is not a whole number of patches of 3 pixels"):
        an_objective(model={"patch_size": 3})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"start": "photo64", "quantizer": VQ}, "a quantizer belongs to start"),
        ({"quantizer": {"kind": "grouped", "dim": 3, "widths": [3]}}, "leave out the quantizer"),
        ({"start": "random"}, "needs a quantizer"),
        ({"pictures": {"l2": 0, "lpips": 0}}, "at least one loss"),
        ({"spread": 9}, "spread"),
        ({"start": "random", "quantizer": {"kind": "gumbel"}}, "quantizer"),
        ({"model": {"depht": 3}}, r"unknown key model\.depht"),
        ({"adversary": {"wieght": 3}}, r"unknown key adversary\.wieght; did you mean weight\?"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        an_objective(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("section", ["network", "autoencoder_decoder", "codes"])
def test_a_part_of_an_optimizers_settings_leaves_the_others_as_they_are(section: str) -> None:
    plain = NestedObjectiveConfig().model_dump()[section]
    changed = check(NestedObjectiveConfig, {section: {"warmup_steps": 7}}, "[nested]").model_dump()[section]
    assert changed == plain | {"warmup_steps": 7}


def names(groups: Sequence[Any]) -> list[str]:
    return [group.name for group in groups]


def test_what_has_no_parameters_is_no_group() -> None:
    assert names(begun(**RANDOM, quantizer=QUANTIZERS["levels"]).groups) == ["network"]
    assert names(begun(**RANDOM, quantizer=VQ, vq={"learning": "ema"}).groups) == ["network"]
    assert names(begun(**RANDOM, quantizer=VQ).groups) == ["network", "codes"]
