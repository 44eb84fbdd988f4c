"""What trainings of the TiTok line refuse before they read a picture: settings, data, frozen networks without their weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from tests.train.titok_settings import ADVERSARY, ON_PICTURES, PAIR, SETTINGS, SYNTHETIC, VQ, an_objective, made, stage2
from vtok.errors import ConfigError, LengthError, WeightsError
from vtok.eval.pairs.lpips import TRUNKS
from vtok.recipes import names
from vtok.tokenizers.clip_text import VARIABLE as CLIP_VARIABLE
from vtok.train import TABLE, load_config, run
from vtok.train.config import RunConfig

every_case = pytest.mark.parametrize("case", SETTINGS)
every_case_on_pictures = pytest.mark.parametrize("case", ON_PICTURES)


@every_case
@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"crop_size": 64}, "data.crop_size is 64 pixels, this tokenizer takes 32"),
        ({"kind": "cache"}, 'data.kind = "cache" holds an autoencoder\'s latents'),
    ],
)
def test_data_that_does_not_fit_is_said_before_the_start_is_made(case: str, data: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        an_objective(case).check(SYNTHETIC.model_copy(update=data))
    assert "\n" not in str(error.value)


@every_case
def test_data_that_fits_is_taken(case: str) -> None:
    an_objective(case).check(SYNTHETIC)


@pytest.mark.parametrize("case", ["tatitok", "tatitok_vae"])
def test_a_decoder_that_reads_captions_wants_some(case: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.captions is false, this decoder reads captions; set it to true"):
        an_objective(case).check(SYNTHETIC.model_copy(update={"captions": False}))


@pytest.mark.parametrize("case", ["stage 1 of one_d_piece", "stage 2 of one_d_piece"])
def test_a_prefix_that_does_not_decode_is_said_before_the_start_is_made(case: str) -> None:
    for prefix in ({"rule": "list", "lengths": [1, 9]}, {"rule": "pair", "of": {"rule": "list", "lengths": [9]}}):
        with pytest.raises(LengthError, match="9 tokens do not decode"):
            an_objective(case, prefix=prefix).check(SYNTHETIC)


def small(case: str) -> dict[str, Any]:
    """Settings of pictures of 16 pixels."""
    changes: dict[str, Any] = {"image_size": 16}
    if case.startswith("stage 2"):
        random_start = SETTINGS[case][1]["random_start"]
        return {"random_start": random_start | {"model": random_start["model"] | changes}}
    return {"model": SETTINGS[case][1]["model"] | changes}


@every_case_on_pictures
def test_a_discriminator_that_halves_too_often_is_said_before_the_start_is_made(case: str) -> None:
    deep = ADVERSARY | {"discriminator": {"kind": "blur_pool", "dim": 32, "depth": 5}}
    with pytest.raises(ConfigError, match="needs pictures of 64 pixels and more, these are of 32"):
        an_objective(case, adversary=deep).check(SYNTHETIC)


@every_case_on_pictures
def test_lpips_needs_larger_pictures(case: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUNKS["alex"].variable, str(shared / "data" / "weights" / "lpips_alex.safetensors"))
    objective = an_objective(case, **small(case), pictures={"l2": 1, "lpips": 1})
    with pytest.raises(ConfigError, match="needs pictures of 31 pixels and more, these are of 16"):
        objective.check(SYNTHETIC.model_copy(update={"crop_size": 16}))


def test_pictures_of_another_size_than_the_image_cannot_be_compared() -> None:
    random_start = SETTINGS["stage 2 of titok"][1]["random_start"]
    pixels = random_start["model"]["pixels"] | {"multiples": [1, 1]}
    objective = an_objective("stage 2 of titok", random_start=random_start | {"model": random_start["model"] | {"pixels": pixels}})
    with pytest.raises(ConfigError, match=r"pictures of \(8, 8\) pixels cannot be compared with those of \(32, 32\)"):
        objective.check(SYNTHETIC)


def test_cells_of_the_proxy_that_are_no_patches_are_said_at_once() -> None:
    other = SETTINGS["stage 1 of titok"][1]["random_proxy"] | {"multiples": [1, 1]}
    with pytest.raises(ConfigError, match="the proxy's cells have 2 pixels a side, the decoder's patches 8; make them equal"):
        an_objective("stage 1 of titok", random_proxy=other)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("titok_stage2", {"start": "random"}, "random_start belongs to start"),
        ("titok_stage2", stage2("titok") | {"start": "somewhere"}, "random_start belongs to start"),
        ("titok_stage2", {}, "start: Field required"),
        ("titok_pixel", {"model": PAIR | {"quantizer": VQ}, "pictures": {"l2": 0, "lpips": 0}}, "at least one loss"),
        ("titok_pixel", {"model": PAIR | {"quantizer": VQ}, "decay_embedings": True}, "did you mean decay_embeddings"),
        ("titok_vae", {"model": PAIR | {"quantizer": VQ}}, "model.num_tokens: Field required"),
        ("tatitok", {"model": PAIR | {"quantizer": VQ}, "text": "t5"}, "text: Input should be 'clip' or 'random'"),
        ("tatitok", {"model": PAIR | {"quantizer": VQ} | {"text": {"length": 4, "dim": 8}}}, "CLIP's embeddings are 77 x 768"),
        ("titok_stage1", {"model": PAIR | {"quantizer": VQ, "image_size": 36}}, "image_size 36 is not a multiple"),
    ],
)
def test_wrong_settings_are_one_line(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        made(name, settings | ({"pictures": {"l2": 1, "lpips": 0}} if name == "tatitok" else {}))
    assert "\n" not in str(error.value)


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a network, whose caches are empty."""
    for trunk in TRUNKS.values():
        monkeypatch.delenv(trunk.variable, raising=False)
    monkeypatch.delenv(CLIP_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


REAL = [name for name in names() if not name.startswith("smoke") and load_config(name).objective in {own for own, _ in SETTINGS.values()}]
NEEDED = {  # in the order in which they are missed
    "titok_stage1": ["MaskGIT-VQGAN"],
    "titok_stage2": ["ConvNeXt-Small", "titok_stage2.start"],
    "titok_pixel": ["VGG16", "ConvNeXt-Small"],
    "titok_vae": ["VGG16", "ConvNeXt-Small"],
    "tatitok": ["VGG16", "ConvNeXt-Small", "CLIP"],
    "tatitok_vae": ["VGG16", "ConvNeXt-Small", "CLIP"],
}


def without(config: RunConfig, network: str) -> RunConfig:
    """The settings of a run, with a loss left out."""
    section = config.sections[config.objective]
    left_out = {"lpips": 0} if network == "VGG16" else {"logits": None}
    changed = section | {"pictures": section["pictures"] | left_out}
    return config.model_copy(update={"sections": {config.objective: changed}})


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("name", REAL)
def test_a_frozen_network_without_its_weights_stops_a_recipe_before_it_reads_a_picture(name: str, tmp_path: Path) -> None:
    config = load_config(name, ["data.path=nowhere"])
    if "clip" in str(config.settings().get("text")):
        pytest.importorskip("open_clip", reason='captions need open_clip: pip install "vtok[text]"')
    for network in NEEDED[config.objective]:
        with pytest.raises(WeightsError, match=network) as error:
            run(config, TABLE, tmp_path / "run")
        assert "\n" not in str(error.value)
        assert not (tmp_path / "run").exists()
        if network in ("VGG16", "ConvNeXt-Small"):
            config = without(config, network)


def test_recipes_of_all_objectives_of_the_line_were_tried() -> None:
    assert {load_config(name).objective for name in REAL} == set(NEEDED)
