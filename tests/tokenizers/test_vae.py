"""The KL autoencoder as a family: rows of cells, the scaling factor, what is refused."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from vtok.errors import ConfigError, MissingExtraError
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.vae import KlSettings, Vae, VaeConfig

pytest.importorskip("diffusers", reason="needs the extra `models`")

PUBLISHED: dict[str, Any] = {  # of flextok_vae_c16
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 16,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 1024,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "scaling_factor": None,
}
BLOCKS = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2, "block_out_channels": [8, 8]}
SMALL: dict[str, Any] = BLOCKS | {"norm_num_groups": 4}


@pytest.fixture
def tok() -> Vae:
    return Vae.tiny()


def images(number: int = 2) -> Tensor:
    return torch.rand(number, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_a_model_of_the_published_sizes_has_as_many_numbers_and_latents() -> None:
    with torch.device("meta"):
        model = Vae(VaeConfig.model_validate({"settings": PUBLISHED}))
    assert sum(parameter.numel() for parameter in model.parameters()) == 83_821_011
    assert (model.spec.num_tokens, model.spec.dim, model.spec.grid, model.spec.input_size) == (1024, 16, (1, 32, 32), (256, 256))


@torch.no_grad()
def test_a_string_has_the_cells_of_the_map_row_by_row(tok: Vae) -> None:
    latents, maps = tok.encode(images()), tok.autoencoder.encode(images())
    assert tok.spec.grid == (1, 8, 8)
    assert latents.logvar is not None
    for row in range(8):
        for col in range(8):
            assert torch.equal(latents.mean[:, 8 * row + col], maps[:, :, row, col])
    torch.testing.assert_close(tok.decode(latents), tok.autoencoder.decode(maps).clamp(0, 1))
    _, logvar = tok.autoencoder.posterior(images())
    assert torch.equal(latents.logvar[:, 9], logvar[:, :, 1, 1])


def test_a_saved_model_has_the_factor_that_was_set_last(tok: Vae, tmp_path: Path) -> None:
    before = tok.encode(images())
    shown = tok.decode(before)
    tok.set_scaling_factor(0.25)
    tok.save_pretrained(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["config"]["settings"]["scaling_factor"] == 0.25
    loaded = Vae.from_pretrained(tmp_path / "model")
    latents = loaded.encode(images())
    assert latents.logvar is not None
    assert before.logvar is not None
    torch.testing.assert_close(latents.mean, before.mean / 2)  # the tiny one begins with 0.5
    torch.testing.assert_close(latents.logvar.exp(), before.logvar.exp() / 4)
    torch.testing.assert_close(loaded.decode(latents), shown)


def test_gradients_reach_all_of_the_network_through_a_sample(tok: Vae) -> None:
    mean, logvar = tok.requires_grad_(True).gaussians(images())
    vectors = mean + (0.5 * logvar).exp() * torch.ones_like(mean)
    tok.autoencoder.decode(vectors.mT.unflatten(2, (8, 8))).square().sum().backward()
    assert [name for name, parameter in tok.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"latent_chanels": 16}, "latent_chanels"),
        ({"latent_channels": 10**6}, "settings.latent_channels"),
        ({"block_out_channels": [8]}, "must be equally many, got 1, 2 and 2"),
        ({"block_out_channels": [8, 10**6]}, "block_out_channels are 1 to 4096"),
        ({"block_out_channels": [4096, 4096], "layers_per_block": 64}, "at most 2,147,483,648 are allowed"),
        ({"down_block_types": ["DownEncoderBlock2D", "DownBlock2D"]}, "settings.down_block_types.1"),
        ({"in_channels": 4}, "settings.in_channels"),
        ({"scaling_factor": 0}, "settings.scaling_factor"),
        ({"scaling_factor": float("inf")}, "settings.scaling_factor"),
        ({"shift_factor": float("nan")}, "settings.shift_factor"),
        ({"latents_std": [1.0]}, "settings.latents_std"),
    ],
)
def test_settings_are_checked_before_anything_is_built(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as error:
        VaeConfig.model_validate({"image_size": 32, "settings": SMALL | settings})
    assert words in str(error.value)


def test_a_picture_is_a_whole_number_of_cells() -> None:
    with pytest.raises(ValidationError, match="image_size 33 is not a multiple of the 2 pixels of a latent"):
        VaeConfig.model_validate({"image_size": 33, "settings": SMALL})


@pytest.mark.parametrize("wrong", [{"norm_num_groups": 3}, {"act_fn": "no such function"}])
def test_what_the_library_refuses_is_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="AutoencoderKL refuses its settings") as error:
        Vae(VaeConfig.model_validate({"image_size": 32, "settings": SMALL | wrong}))
    assert "\n" not in str(error.value)


def test_a_folder_with_wrong_settings_is_one_line_that_names_the_file(tok: Vae, tmp_path: Path) -> None:
    tok.save_pretrained(tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    file.write_text(file.read_text().replace("latent_channels", "latent_chanels"))
    with pytest.raises(ConfigError, match=r"config\.json: unknown key settings\.latent_chanels; did you mean latent_channels") as error:
        Pretrained.from_pretrained(tmp_path / "model")
    assert "\n" not in str(error.value)


def test_a_missing_library_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vtok\[models\]"'):
        Vae(VaeConfig(image_size=32, settings=KlSettings()))
