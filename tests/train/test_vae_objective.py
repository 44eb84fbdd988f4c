"""The training of a KL autoencoder: its losses by hand, what learns, the scaling factor, what is refused."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from tests.train.titok_settings import ADVERSARY, ON_PIXELS, SIDE, SYNTHETIC, a_batch, figures, halves, made, total
from vtok.errors import ConfigError, MissingExtraError, WeightsError
from vtok.eval.pairs.lpips import TRUNKS
from vtok.models.autoencoders import build
from vtok.tokenizers.titok_vae import TitokVae
from vtok.tokenizers.vae import Vae
from vtok.train import TABLE, latent_spread, load_config, run
from vtok.train.config import TrainConfig
from vtok.train.engine.steps import Stepper
from vtok.train.frozen import frozen_autoencoder
from vtok.train.latent_spread import LatentSpread
from vtok.train.objectives.vae import VaeObjective
from vtok.train.samples.held_out import held_out_crops
from vtok.train.samples.latent_cache import autoencoder_digest, named_autoencoder
from vtok.train.samples.pictures import open_pictures

pytest.importorskip("diffusers", reason="needs the extra `models`")

NETWORK: dict[str, Any] = Vae.tiny().config.settings.model_dump() | {"scaling_factor": None}
SETTINGS = ON_PIXELS | {"model": {"image_size": SIDE, "settings": NETWORK}}


def begun(seed: int = 0, **changes: Any) -> VaeObjective:
    objective: VaeObjective = made("vae", SETTINGS | changes)
    tokenizer = objective.prepare(open_pictures(SYNTHETIC, 0), torch.Generator().manual_seed(seed))
    torch.manual_seed(0)
    objective.begin(tokenizer, seed=seed)
    return objective


def stepped(objective: Any, steps: int, **train: Any) -> Vae:
    """The averaged model after some steps; here it is the model itself, but for its scaling factor."""
    stepper = Stepper(objective, TrainConfig(steps=steps, **train), Accelerator(cpu=True))
    averaged = objective.make().eval()
    for step in range(steps):
        stepper.step(step, [a_batch(step)])
        averaged.load_state_dict(objective.model.state_dict())
        objective.after_step(step, averaged)
    return averaged


# --- losses


@torch.no_grad()
def test_a_step_costs_what_a_sample_misses_and_its_distance_from_the_unit_normal() -> None:
    objective, batch = begun(kl=0.1), a_batch(1)
    model = objective.model
    assert isinstance(model, Vae)
    posterior = model.autoencoder.model.encode(2 * batch.images - 1).latent_dist
    sample = posterior.mean + posterior.std * objective._noise(batch).mT.unflatten(2, (8, 8))
    pictures = model.autoencoder.model.decode(sample).sample / 2 + 0.5
    expected = {"l2": (pictures - batch.images).square().mean(), "kl": 0.1 * posterior.kl().mean()}
    torch.testing.assert_close(objective.losses(batch), {"network": expected})


@torch.no_grad()
def test_losses_of_a_batch_are_the_mean_of_those_of_its_halves() -> None:
    objective = begun(adversary=ADVERSARY | {"first_step": 0, "lecam": 0})
    whole = figures(objective, a_batch(num=6))
    first, second = (figures(objective, part) for part in halves(a_batch(num=6)))
    assert {name: (first[name] + second[name]) / 2 for name in whole} == pytest.approx(whole, rel=1e-5)


@torch.no_grad()
def test_noise_is_each_samples_own_by_seed_step_and_index() -> None:
    objective = begun()
    whole = objective._noise(a_batch(3, 6))
    assert whole.shape == (6, 64, 5)
    assert torch.equal(torch.cat([objective._noise(part) for part in halves(a_batch(3, 6))]), whole)
    assert not torch.equal(objective._noise(a_batch(4, 6)), whole)
    assert not torch.equal(begun(seed=1)._noise(a_batch(3, 6)), whole)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_reach_the_whole_network_and_are_finite(precision: torch.dtype) -> None:
    objective = begun(adversary=ADVERSARY | {"first_step": 0})
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        losses = objective.losses(a_batch())
        total(losses).backward()
    for own in losses.values():
        assert all(value.shape == () and value.dtype == torch.float32 and bool(value.isfinite()) for value in own.values())
    for name, parameter in objective.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_a_few_steps_lower_the_losses_of_a_batch() -> None:
    objective, batch = begun(), a_batch()
    with torch.no_grad():
        before = figures(objective, batch)["network/l2"]
    stepped(objective, 30)
    with torch.no_grad():
        assert figures(objective, batch)["network/l2"] < 0.8 * before


def test_blocks_computed_again_give_the_same_gradients() -> None:
    found = []
    for again in (False, True):
        objective = begun()
        assert isinstance(objective.model, Vae)
        objective.model.set_gradient_checkpointing(True)
        objective.model.set_gradient_checkpointing(again)
        assert objective.model.autoencoder.model.is_gradient_checkpointing == again
        total(objective.losses(a_batch())).backward()
        found.append({name: parameter.grad for name, parameter in objective.model.named_parameters()})
    torch.testing.assert_close(found[1], found[0])


def test_a_compiled_step_is_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are run as they were traced: a compiler behind them would take minutes."""
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled(module, backend="eager"))
    plain, other = (stepped(begun(adversary=ADVERSARY | {"first_step": 1}), 3, compile=compile_it) for compile_it in (False, True))
    torch.testing.assert_close(dict(other.state_dict()), dict(plain.state_dict()), rtol=1e-3, atol=1e-5)  # AdamW makes much of rounding
    assert other.config.settings.scaling_factor == pytest.approx(plain.config.settings.scaling_factor, rel=1e-4)


# --- the scaling factor


def spread_of(model: Vae, images: Tensor) -> float:
    return float(model.encode(images).sample(torch.Generator().manual_seed(0)).std())


def test_a_run_is_kept_with_the_factor_with_which_its_latents_deviate_by_1(tmp_path: Path) -> None:
    config = load_config("smoke-vae", ["train.steps=12", "train.ema=0", "train.validation.every=6", "train.trackers=[]", "threads=1"])
    folder = run(config, TABLE, tmp_path / "run")
    factors = {}
    for place in ("start", "best", "."):
        settings = json.loads((folder / place / "config.json").read_text())["config"]["settings"]
        factors[place] = settings["scaling_factor"]
    assert factors["start"] is None
    assert factors["best"]
    model = Vae.from_pretrained(folder)
    images = held_out_crops(config.data.model_copy(update={"split": "all"}), 16, seed=0)
    found = spread_of(model, images)
    assert found == pytest.approx(1, abs=0.1)  # of other crops than those of the steps
    model.set_scaling_factor(1.0)
    assert found == pytest.approx(spread_of(model, images) * factors["."], rel=1e-4)


def test_the_network_that_is_trained_has_no_factor() -> None:
    objective = begun()
    averaged = stepped(objective, 2)
    assert isinstance(objective.model, Vae)
    assert objective.model.autoencoder.scale == 1
    assert averaged.autoencoder.scale == averaged.config.settings.scaling_factor != 1


def test_the_spread_is_a_running_one_over_all_batches_of_a_step() -> None:
    spread = LatentSpread()
    parts = [torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(number)) * number + number for number in (1, 2, 3)]
    spread.see(parts[0])
    spread.see(parts[1])
    both = torch.cat(parts[:2])
    assert spread.after_step(0) == pytest.approx(float(both.std(correction=0)), rel=1e-5)
    spread.see(parts[2])
    kept = min(latent_spread.DECAY, 2 / 11)
    moments = [kept * float(both.pow(n).mean()) + (1 - kept) * float(parts[2].pow(n).mean()) for n in (1, 2)]
    assert spread.after_step(1) == pytest.approx(math.sqrt(moments[1] - moments[0] ** 2), rel=1e-5)
    assert set(spread.state_dict()) == {"moments"}


def test_the_spread_is_that_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_spread, "gathered", lambda own: torch.cat([own, torch.tensor([[2.0, 5.0]])]))
    spread = LatentSpread()
    spread.see(torch.zeros(1, 2, 3))
    assert spread.after_step(0) == pytest.approx(math.sqrt(2.5 - 1))


# --- its folder as an autoencoder


@torch.no_grad()
def test_the_latents_of_a_model_folder_are_those_of_the_frozen_autoencoder(tmp_path: Path) -> None:
    model = Vae.tiny()
    model.set_scaling_factor(0.3)
    model.save_pretrained(tmp_path / "model")
    config, autoencoder = frozen_autoencoder(str(tmp_path / "model"), "", 16)
    images = a_batch().images
    wanted = Vae.from_pretrained(tmp_path / "model").encode(images).mean.mT.unflatten(2, (8, 8))
    assert torch.equal(autoencoder.encode(images), wanted)
    assert autoencoder.encode(a_batch().images.repeat(1, 1, 2, 3)).shape == (4, 5, 16, 24)  # of any size
    assert not autoencoder.training
    assert not any(parameter.requires_grad for parameter in autoencoder.parameters())
    again = build(type(config).model_validate_json(config.model_dump_json()))
    again.load_state_dict(autoencoder.state_dict())
    torch.testing.assert_close(again.eval().encode(images), wanted, rtol=0, atol=1e-5)
    assert autoencoder_digest(again) == autoencoder_digest(named_autoencoder(str(tmp_path / "model"))[1])


def other_family(folder: Path) -> None:
    TitokVae.tiny().save_pretrained(folder)


def damaged(folder: Path) -> None:
    Vae.tiny().save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"nothing")


def other_sizes(folder: Path) -> None:
    Vae.tiny().save_pretrained(folder)
    file = folder / "config.json"
    file.write_text(file.read_text().replace('"latent_channels": 5', '"latent_channels": 6'))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (other_family, "a titok_vae model is no autoencoder; give a model of the family vae"),
        (damaged, r"model\.safetensors: damaged"),
        (other_sizes, r"model\.safetensors: does not fit config\.json"),
    ],
)
def test_a_folder_that_is_no_autoencoder_is_one_line(spoil: Any, words: str, tmp_path: Path) -> None:
    spoil(tmp_path / "model")
    with pytest.raises(WeightsError, match=words) as error:
        frozen_autoencoder(str(tmp_path / "model"), "", 16)
    assert str(tmp_path / "model") in str(error.value)
    assert "\n" not in str(error.value)


# --- what is refused


@pytest.mark.parametrize("key", ["scaling_factor", "shift_factor"])
def test_a_factor_of_ones_own_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="scaling_factor and shift_factor are not for training") as error:
        made("vae", SETTINGS | {"model": {"image_size": SIDE, "settings": NETWORK | {key: 0.5}}})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"image_size": SIDE, "settings": NETWORK | {"latent_chanels": 4}}}, "latent_chanels; did you mean latent_channels"),
        ({"model": {"image_size": 30, "settings": NETWORK}}, "image_size 30 is not a multiple of the 4 pixels of a latent"),
        ({"model": {"image_size": SIDE}}, "model.settings: Field required"),
        ({"kll": 1.0}, "did you mean kl"),
    ],
)
def test_wrong_settings_are_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        made("vae", SETTINGS | changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"crop_size": 64}, "data.crop_size is 64 pixels, this tokenizer takes 32"),
        ({"kind": "cache"}, 'data.kind = "cache" holds an autoencoder\'s latents'),
    ],
)
def test_data_that_does_not_fit_is_said_before_the_start_is_made(data: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        made("vae", SETTINGS).check(SYNTHETIC.model_copy(update=data))


def test_what_the_library_refuses_is_said_before_a_picture_is_read(tmp_path: Path) -> None:
    config = load_config("smoke-vae", ["vae.model.settings.norm_num_groups=3", "data.kind=folder", "data.path=nowhere"])
    with pytest.raises(ConfigError, match="AutoencoderKL refuses its settings") as error:
        run(config, TABLE, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_missing_library_is_said_before_a_picture_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vtok\[models\]"'):
        run(load_config("smoke-vae", ["data.kind=folder", "data.path=nowhere"]), TABLE, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_lpips_without_its_weights_stops_the_recipe_before_a_picture_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRUNKS["vgg"].variable, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    with pytest.raises(WeightsError, match="VGG16") as error:
        run(load_config("vae-f8c16", ["data.path=nowhere"]), TABLE, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
