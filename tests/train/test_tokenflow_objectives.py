"""TokenFlow's trainings: their losses by hand, what learns, scales that are left out, what they start from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate, normalize

from tests.train.losses.test_class_features import saved
from tests.train.titok_settings import SIDE, SYNTHETIC, a_batch, figures, made, total
from vtok.errors import ConfigError, WeightsError
from vtok.models.quantizers.multiscale import SKIPPED
from vtok.tokenizers.llamagen_vq import LlamagenVq
from vtok.tokenizers.tokenflow import TokenflowTokenizer
from vtok.train.config import TrainConfig
from vtok.train.engine.steps import Stepper
from vtok.train.objectives.tokenflow import quantized_with_gaps
from vtok.train.samples.batch import Batch
from vtok.train.samples.pictures import open_pictures

SCALES, GRID, SEMANTIC = (1, 2, 4), 4, 6
TOWER = {"kind": "clip", "dim": 24, "depth": 1, "heads": 2, "patch_size": 8, "side": GRID}
TRUNK = {"dim": 32, "multiples": [1, 1, 1, 1], "num_blocks": 1, "z_dim": 16}
MODEL: dict[str, Any] = {
    "image_size": SIDE,
    "semantic_dim": SEMANTIC,
    "semantic_encoder": TOWER,
    "semantic_decoder": {"dim": 24, "depth": 1, "heads": 2, "side": GRID, "out_dim": 10},
    "encoder": TRUNK,
    "decoder": TRUNK,
    "quantizer": {
        "kind": "multiscale_stagewise",
        "scales": [[side, side] for side in SCALES],
        "part": {"kind": "shared_index", "widths": [SEMANTIC, 4], "codebook_size": 16},
    },
}
ONE_TABLE = MODEL | {"quantizer": {"kind": "shared_index", "num_tokens": GRID**2, "widths": [SEMANTIC, 4], "codebook_size": 16}}
DISCRIMINATOR = {"kind": "patch", "dim": 16, "depth": 2, "norm": "batch"}
ADVERSARY = {"discriminator": DISCRIMINATOR, "weight": 0.5, "first_step": 0, "warmup_steps": 0}
SETTINGS: dict[str, Any] = {
    "network": {"learning_rate": 3e-3, "warmup_steps": 0, "weight_decay": 0},
    "pictures": {"l2": 4.0, "lpips": 0},
    "adversary": ADVERSARY,
}
WHOLE: dict[str, Any] = SETTINGS | {"start": "random", "model": MODEL, "semantics": {"teacher": "random", "weight": 0.5}, "skip": 0}
OTHER_DECODER = TRUNK | {"dim": 64}


@pytest.fixture
def start(tmp_path: Path) -> str:
    """A folder of a model whose scales are the same as `MODEL`'s."""
    begun("tokenflow").model.save_pretrained(tmp_path / "start")
    return str(tmp_path / "start")


def begun(name: str, **changes: Any) -> Any:
    objective = made(name, (WHOLE if name == "tokenflow" else SETTINGS) | changes)
    tokenizer = objective.prepare(open_pictures(SYNTHETIC, 0), torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    objective.begin(tokenizer, seed=0)
    return objective


def unit(parts: Tensor) -> Tensor:
    """Both parts of vectors (..., D) at length 1."""
    return torch.cat([normalize(parts[..., :SEMANTIC], dim=-1), normalize(parts[..., SEMANTIC:], dim=-1)], -1)


def loop(latents: Tensor, codes: Tensor, without: int | None = None) -> tuple[Tensor, float]:
    """Vectors of latents (B, N, D), and how far codes are from what they stand for, the mean over scales."""
    left = latents.mT.unflatten(2, (GRID, GRID))
    sums, errors, codes = torch.zeros_like(left), [], unit(codes)
    for scale, side in enumerate(SCALES):
        if scale == without:
            continue
        cells = left.unflatten(2, (side, -1)).unflatten(4, (side, -1)).mean((3, 5)).flatten(2).mT  # the average of equal fields
        found = codes[torch.cdist(unit(cells), codes).argmin(2)]
        errors.append(float((found - unit(cells)).square().mean()))
        grown = found.mT.unflatten(2, (side, side))
        grown = interpolate(grown, (GRID, GRID), mode="bicubic", align_corners=False) if side < GRID else grown
        sums, left = sums + grown, left - grown
    return sums.flatten(2).mT, sum(errors) / len(errors)


@torch.no_grad()
def test_the_losses_are_those_of_pictures_of_scales_of_features_and_of_the_game() -> None:
    objective, batch = begun("tokenflow"), a_batch(1)
    model, found = objective.model, objective.losses(batch)
    vectors, error = loop(model.latents(batch.images), model.quantizer.table.codes[0])
    pictures = (model.decoder(vectors[..., SEMANTIC:].mT.unflatten(2, (GRID, GRID))) + 1) / 2
    told, wanted = model.semantic_decoder(vectors[..., :SEMANTIC]), objective.semantics.teacher.network(batch.images)
    real, fake = (objective.adversary.discriminator(shown) for shown in (batch.images, pictures))
    expected = {
        "network": {
            "l2": 4 * (pictures - batch.images).square().mean(),
            "commitment": torch.tensor(0.25 * error),
            "codebook": torch.tensor(error),
            "semantics": 0.5 * (1 - cosine_similarity(told, wanted, dim=2)).mean(),
            "adversarial": -0.5 * fake.mean(),
        },
        "discriminator": {"real_or_not": 0.5 * ((1 - real).relu().mean() + (1 + fake).relu().mean())},
    }
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_a_scale_that_is_left_out_leaves_its_part_to_the_later_ones() -> None:
    objective = begun("tokenflow")
    model = objective.model
    latents = model.latents(a_batch(1).images)
    seen = set()
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        quantized = quantized_with_gaps(model, latents, 0.9, generator)
        gone = [scale for scale, own in enumerate(model.quantizer.levels(quantized.ids)) if bool((own == SKIPPED).all())]
        assert int((quantized.ids == SKIPPED).sum()) == sum(len(latents) * SCALES[scale] ** 2 for scale in gone)  # of all samples alike
        without = gone[0] if gone else None
        vectors, error = loop(latents, model.quantizer.table.codes[0], without)
        torch.testing.assert_close(quantized.vectors, vectors)
        assert float(quantized.losses["codebook"]) == pytest.approx(error, rel=1e-4)
        seen.add(without)
    assert seen == {None, 1, 2}


@torch.no_grad()
def test_a_step_leaves_out_what_its_number_says() -> None:
    one, other = begun("tokenflow", skip=0.5), begun("tokenflow", skip=0.5)
    told = [figures(one, a_batch(step)) for step in range(6)]
    assert told[3] == figures(other, a_batch(3))
    never = begun("tokenflow")
    same = [figures(never, a_batch(step))["network/codebook"] == told[step]["network/codebook"] for step in range(6)]
    assert 0 < sum(same) < 6


@torch.no_grad()
def test_a_model_without_scales_leaves_none_out() -> None:
    whole, gaps = (begun("tokenflow", model=ONE_TABLE, skip=skip) for skip in (0, 0.9))
    assert figures(whole, a_batch()) == figures(gaps, a_batch())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_reach_all_that_is_trained_and_losses_are_finite_float32_scalars(precision: torch.dtype) -> None:
    objective = begun("tokenflow")
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        losses = objective.losses(a_batch())
    total(losses).backward()
    for own in losses.values():
        assert all(value.shape == () and value.dtype == torch.float32 and bool(value.isfinite()) for value in own.values())
    gradients = {name: parameter.grad for name, parameter in objective.named_parameters()}
    assert [name for name, value in gradients.items() if value is None or not bool(value.isfinite().all())] == []
    assert sum(len(group.parameters) for group in objective.groups) == len(gradients)


@pytest.mark.parametrize("model", [MODEL, ONE_TABLE])
def test_a_few_steps_lower_what_pictures_and_features_miss(model: dict[str, Any]) -> None:
    objective, batch = begun("tokenflow", adversary=None, model=model), a_batch()
    with torch.no_grad():
        before = figures(objective, batch)
    steps(objective, 30, batch)
    with torch.no_grad():
        after = figures(objective, batch)
    assert after["network/l2"] < 0.7 * before["network/l2"]
    assert after["network/semantics"] < 0.7 * before["network/semantics"]


def steps(objective: Any, number: int, batch: Batch | None = None, *, compiled: bool = False) -> list[Any]:
    """Steps on one batch, or each on its own; what they told."""
    stepper = Stepper(objective, TrainConfig(steps=number, compile=compiled), Accelerator(cpu=True))
    told = []
    for step in range(number):
        told.append(stepper.step(step, [batch or a_batch(step)]))
        objective.after_step(step, objective.model)
    return told


def test_a_compiled_step_is_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are run as they were traced: a compiler behind them would take minutes."""
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled(module, backend="eager"))
    found = (steps(begun("tokenflow", skip=0.9), 2, compiled=compile_it) for compile_it in (False, True))
    for (names_of_plain, plain), (names_of_compiled, other) in zip(*found, strict=True):
        assert names_of_plain == names_of_compiled
        torch.testing.assert_close(other, plain, rtol=1e-3, atol=0)


@pytest.fixture
def tower(tmp_path: Path) -> str:
    """A CLIP of the sizes of `TOWER`, in the layout of the library."""
    library = pytest.importorskip("transformers", reason="needs the extra `models`")
    sizes = {"hidden_size": 24, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 8}
    config = library.CLIPVisionConfig(**sizes, image_size=SIDE, projection_dim=10)
    return str(saved(library.CLIPVisionModelWithProjection(config), tmp_path / "tower"))


def test_a_start_from_the_teacher_has_its_tower_and_learns_beside_it(tower: str) -> None:
    objective = begun("tokenflow", start="teacher", semantics={"teacher": tower, "weight": 1.0})
    own, teacher = objective.model.semantic_encoder, objective.semantics.teacher.network.tower
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    assert before.keys() == own.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    steps(objective, 2)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not any(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    assert all("teacher" not in name for name in objective.state_dict())


@torch.no_grad()
def test_a_start_by_its_folder_keeps_weights_and_sizes(start: str) -> None:
    objective = begun("tokenflow", start=start, model={})
    assert objective.model.config == TokenflowTokenizer.from_pretrained(start).config
    other = begun("tokenflow").model.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in objective.model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"start": "teacher"}, ConfigError, 'needs a teacher, semantics.teacher = "random" is none'),
        ({"semantics": {"teacher": "no/such-tower"}}, WeightsError, "no tower no/such-tower"),
        ({"start": "no-such-folder"}, WeightsError, 'tokenflow.start = "no-such-folder"'),
        (
            {"semantics": {"teacher": "TOWER"}, "model": MODEL | {"semantic_decoder": {"side": GRID, "out_dim": 9}}},
            ConfigError,
            "10 numbers",
        ),
        ({"semantics": {"teacher": "TOWER"}, "model": MODEL | {"semantic_encoder": TOWER | {"depth": 2}}}, WeightsError, "of other sizes"),
        ({"prefix": "tail_drop"}, ConfigError, "prefix"),
        ({"skip": 1.0}, ConfigError, "skip"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_run(changes: dict[str, Any], error: type[Exception], words: str, tower: str) -> None:
    if (semantics := changes.get("semantics", {})).get("teacher") == "TOWER":
        changes = changes | {"semantics": semantics | {"teacher": tower}}
    with pytest.raises(error, match=words) as refused:
        made("tokenflow", WHOLE | changes)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("decoder", [None, OTHER_DECODER])
def test_a_decoder_is_trained_alone(start: str, decoder: dict[str, Any] | None) -> None:
    objective, batch = begun("tokenflow_decoder", start=start, decoder=decoder), a_batch()
    model, first = objective.model, TokenflowTokenizer.from_pretrained(start)
    kept = first.state_dict()
    learns = {name for name in kept if name.startswith("decoder.") and not name.startswith("decoder.project.")}
    beginning = {name: value.clone() for name, value in model.state_dict().items()}
    assert all(torch.equal(value, kept[name]) for name, value in beginning.items() if name not in learns)
    assert (model.config.decoder.dim, model.config.encoder) == (32 if decoder is None else 64, first.config.encoder)
    if decoder is None:
        assert all(torch.equal(beginning[name], kept[name]) for name in learns)
    assert set(objective.losses(batch)["network"]) == {"l2", "adversarial"}
    steps(objective, 3)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, beginning[name])}
    assert changed
    assert all(name.startswith("decoder.") and "project" not in name for name in changed)
    assert {name.split(".")[1] for name in changed} == {name.split(".")[0] for name in model.decoder.state_dict()} - {"project"}
    assert torch.equal(model.encode(batch.images).ids, first.encode(batch.images).ids)


def test_a_trained_decoder_loads_with_its_sizes(start: str, tmp_path: Path) -> None:
    model = begun("tokenflow_decoder", start=start, decoder=OTHER_DECODER).model
    model.save_pretrained(tmp_path / "trained")
    again, images = TokenflowTokenizer.from_pretrained(tmp_path / "trained"), a_batch().images
    assert torch.equal(again.decode(again.encode(images)), model.eval().decode(model.encode(images)))


def test_a_decoder_learns_with_scales_left_out(start: str) -> None:
    told = [figures(begun("tokenflow_decoder", start=start, skip=skip, adversary=None), a_batch(1)) for skip in (0, 0.99)]
    assert told[0] != told[1]
    objective, batch = begun("tokenflow_decoder", start=start, adversary=None, decoder=OTHER_DECODER), a_batch()
    with torch.no_grad():
        before = figures(objective, batch)
    steps(objective, 20, batch)
    with torch.no_grad():
        assert figures(objective, batch)["network/l2"] < 0.7 * before["network/l2"]


def test_a_decoder_that_does_not_fit_is_refused(start: str) -> None:
    with pytest.raises(ConfigError, match=r"tokenflow_decoder\.decoder\.z_dim is 8, that of the start is 16"):
        made("tokenflow_decoder", SETTINGS | {"start": start, "decoder": TRUNK | {"z_dim": 8}})


@pytest.mark.parametrize("name", ["tokenflow", "tokenflow_decoder"])
def test_a_start_of_another_family_is_refused(name: str, tmp_path: Path) -> None:
    LlamagenVq.tiny().save_pretrained(tmp_path / "other")
    settings = WHOLE if name == "tokenflow" else SETTINGS
    with pytest.raises(ConfigError, match="a llamagen_vq model, expected tokenflow"):
        made(name, settings | {"start": str(tmp_path / "other")})
