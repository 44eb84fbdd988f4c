"""The autoencoders of diffusers, as small random models in its own folder layout."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vtok.errors import ConfigError, MissingExtraError, WeightsError
from vtok.models.autoencoders import build
from vtok.models.autoencoders.diffusers import ARCHITECTURES, DiffusersAutoencoder
from vtok.models.autoencoders.registry import DiffusersConfig

diffusers = pytest.importorskip("diffusers", reason="needs the extra `models`")

SETTINGS: dict[str, dict[str, Any]] = {
    "AutoencoderKL": {
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "block_out_channels": (8, 8, 16),
        "latent_channels": 5,
        "norm_num_groups": 4,
        "scaling_factor": 0.4,
        "shift_factor": 0.25,
    },
    "AutoencoderTiny": {
        "encoder_block_out_channels": (8, 8, 8),
        "decoder_block_out_channels": (8, 8, 8),
        "num_encoder_blocks": (1, 1, 2),
        "num_decoder_blocks": (2, 1, 1),
        "latent_channels": 6,  # not 4, which the library's own tiling takes for granted
    },
    "AutoencoderDC": {
        "latent_channels": 8,
        "attention_head_dim": 8,
        "encoder_block_types": ("ResBlock", "ResBlock", "EfficientViTBlock"),
        "decoder_block_types": ("ResBlock", "ResBlock", "EfficientViTBlock"),
        "encoder_block_out_channels": (8, 16, 32),
        "decoder_block_out_channels": (8, 16, 32),
        "encoder_layers_per_block": (1, 1, 1),
        "decoder_layers_per_block": (1, 1, 1),
        "encoder_qkv_multiscales": ((), (), (5,)),
        "decoder_qkv_multiscales": ((), (), (5,)),
        "scaling_factor": 0.5,
    },
}
CHANNELS = {"AutoencoderKL": 5, "AutoencoderTiny": 6, "AutoencoderDC": 8}


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    """The library's own model of an architecture, and the folder that it wrote."""
    made: dict[str, tuple[Any, Path]] = {}

    def make(architecture: str) -> tuple[Any, Path]:
        if architecture not in made:
            torch.manual_seed(0)
            model = getattr(diffusers, architecture)(**SETTINGS[architecture]).eval()
            folder = tmp_path_factory.mktemp(architecture)
            model.save_pretrained(folder)
            made[architecture] = (model, folder)
        return made[architecture]

    return make


@pytest.fixture
def theirs(saved: Callable[[str], tuple[Any, Path]], architecture: str) -> Any:
    return saved(architecture)[0]


@pytest.fixture
def folder(saved: Callable[[str], tuple[Any, Path]], architecture: str) -> Path:
    return saved(architecture)[1]


@pytest.fixture
def kl(saved: Callable[[str], tuple[Any, Path]], tmp_path: Path) -> Path:
    """A folder of AutoencoderKL to be damaged."""
    for file in saved("AutoencoderKL")[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def pictures(height: int, width: int, count: int = 1) -> Tensor:
    """Smooth pictures in [0, 1]."""
    coarse = torch.rand(count, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


@torch.no_grad()
def encoded_by_the_library(model: Any, images: Tensor) -> Tensor:
    """Scaled latents of images in [0, 1]."""
    out = model.encode(2 * images - 1)
    latents: Tensor = out.latent_dist.mode() if isinstance(model, diffusers.AutoencoderKL) else out[0]
    return (latents - (model.config.get("shift_factor") or 0)) * model.config.scaling_factor


@torch.no_grad()
def decoded_by_the_library(model: Any, latents: Tensor) -> Tensor:
    """Pictures in [0, 1] of scaled latents."""
    unscaled = latents / model.config.scaling_factor + (model.config.get("shift_factor") or 0)
    pictures: Tensor = model.decode(unscaled).sample
    return pictures / 2 + 0.5


def test_encoding_and_decoding_are_those_of_the_library(architecture: str, theirs: Any, folder: Path) -> None:
    ours = DiffusersAutoencoder.from_folder(folder).eval().requires_grad_(False)
    images = pictures(48, 36, count=2)
    latents = ours.encode(images)
    assert latents.shape == (2, CHANNELS[architecture], 12, 9)
    torch.testing.assert_close(latents, encoded_by_the_library(theirs, images), rtol=0, atol=1e-5)
    decoded = ours.decode(latents)
    assert decoded.shape == images.shape
    torch.testing.assert_close(decoded, decoded_by_the_library(theirs, latents), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_sample_is_the_librarys_from_the_global_generator(architecture: str, theirs: Any, folder: Path) -> None:
    ours = DiffusersAutoencoder.from_folder(folder).eval()
    images = pictures(16, 20, count=2)
    torch.manual_seed(3)
    drawn = ours.sample(images)
    if architecture != "AutoencoderKL":
        assert torch.equal(drawn, ours.encode(images))
        return
    torch.manual_seed(3)
    expected = (theirs.encode(2 * images - 1).latent_dist.sample() - 0.25) * 0.4
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-5)
    assert not torch.equal(drawn, ours.sample(images))


@torch.no_grad()
def test_the_posterior_is_that_of_scaled_latents(kl: Path) -> None:
    ours = DiffusersAutoencoder.from_folder(kl).eval()
    images = pictures(16, 20, count=2)
    mean, logvar = ours.posterior(images)
    assert torch.equal(mean, ours.encode(images))
    found = ours.model.encode(2 * images - 1).latent_dist
    torch.testing.assert_close((0.5 * logvar).exp(), 0.4 * found.std)
    with torch.autocast("cpu", torch.bfloat16):
        assert {value.dtype for value in ours.posterior(images)} == {torch.float32}


@torch.no_grad()
def test_another_scaling_factor_scales_latents_and_is_in_the_settings(kl: Path) -> None:
    ours = DiffusersAutoencoder.from_folder(kl).eval()
    images = pictures(16, 20)
    latents = ours.encode(images)
    decoded = ours.decode(latents)
    ours.set_scaling_factor(0.8)
    assert ours.settings["scaling_factor"] == 0.8
    torch.testing.assert_close(ours.encode(images), 2 * latents)
    torch.testing.assert_close(ours.decode(2 * latents), decoded)


def test_the_sizes_are_those_of_the_model(architecture: str, folder: Path) -> None:
    ours = DiffusersAutoencoder.from_folder(folder)
    assert (ours.downsample, ours.channels) == (4, CHANNELS[architecture])


def test_the_settings_and_tensors_build_the_model_again(folder: Path) -> None:
    ours = DiffusersAutoencoder.from_folder(folder)
    config = DiffusersConfig.model_validate({"architecture": ours.architecture, "settings": json.loads(json.dumps(ours.settings))})
    again = build(config)
    again.load_state_dict(ours.state_dict())
    images = pictures(16, 20)
    with torch.no_grad():
        assert torch.equal(again.eval().encode(images), ours.eval().encode(images))
    assert not [key for key in ours.settings if key.startswith("_")]


def test_weights_in_half_precision_are_widened(theirs: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    state = {name: value.half() for name, value in theirs.state_dict().items()}
    save_file(state, tmp_path / "diffusion_pytorch_model.safetensors")
    ours = DiffusersAutoencoder.from_folder(tmp_path)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    assert all(torch.equal(value, state[name].float()) for name, value in ours.model.state_dict().items())


def test_attention_is_read_under_its_old_names(kl: Path) -> None:
    wanted = DiffusersAutoencoder.from_folder(kl).state_dict()
    file = kl / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {name: value.clone() for name, value in load_file(file).items()}
    for new, name in old.items():
        state = {key.replace(f".{new}.", f".{name}."): value for key, value in state.items()}
    assert "decoder.mid_block.attentions.0.proj_attn.bias" in state
    save_file(state, file)
    found = DiffusersAutoencoder.from_folder(kl).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in wanted.items())


class TestLargePictures:
    """Above 64 pixels here: the parts are 64 pixels a side, the picture is no whole number of them."""

    SIZE = (228, 140)

    @pytest.fixture(autouse=True)
    def small_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vtok.models.autoencoders.diffusers.TILED_ABOVE", 64)

    @pytest.fixture
    def ours(self, folder: Path) -> DiffusersAutoencoder:
        return DiffusersAutoencoder.from_folder(folder).eval().requires_grad_(False)

    def sides_seen(self, ours: DiffusersAutoencoder) -> tuple[list[int], list[int]]:
        """Filled by later calls: the longer side of each input of the encoder, and of the decoder."""
        seen: tuple[list[int], list[int]] = ([], [])
        for network, sides in zip((ours.model.encoder, ours.model.decoder), seen, strict=True):
            network.register_forward_pre_hook(lambda _module, inputs, sides=sides: sides.append(max(inputs[0].shape[2:])))
        return seen

    def test_a_picture_up_to_the_limit_goes_through_at_once(self, ours: DiffusersAutoencoder) -> None:
        seen = self.sides_seen(ours)
        ours.decode(ours.encode(pictures(64, 48)))
        assert seen == ([64], [16])

    def test_no_part_is_larger_than_the_limit(self, ours: DiffusersAutoencoder) -> None:
        seen = self.sides_seen(ours)
        decoded = ours.decode(ours.encode(pictures(*self.SIZE)))
        assert decoded.shape[2:] == self.SIZE
        margins = 2 * (ours.margin or 0)
        assert max(seen[0]) == 64 + 4 * margins
        assert max(seen[1]) == 16 + margins
        assert len(seen[0]) >= 12

    @pytest.mark.parametrize("size", [(228, 140), (68, 64), (64, 68), (96, 112), (52, 196)])
    def test_parts_are_put_where_they_belong(self, ours: DiffusersAutoencoder, size: tuple[int, int]) -> None:
        """With layers that see one cell only, all tiles agree where they overlap, so the parts must give the whole exactly."""
        ours.model.encoder = nn.Conv2d(3, 2 * ours.channels if hasattr(ours.model, "quant_conv") else ours.channels, 4, stride=4)
        ours.model.decoder = nn.ConvTranspose2d(ours.channels, 3, 4, stride=4)
        images = pictures(*size)
        with torch.no_grad():
            latents = ours.encode(images)
            decoded = ours.decode(latents)
            ours.model.use_tiling, ours.margin = False, None
            torch.testing.assert_close(latents, ours.encode(images), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(decoded, ours.decode(latents), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("blocks", [((1, 1, 2), (2, 1, 1)), ((1, 2, 1), (1, 2, 1)), ((2, 1), (1, 1)), ((1, 3, 3, 3), (3, 3, 3, 1))])
    def test_the_tiny_autoencoder_comes_out_as_at_once(self, blocks: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        settings = {
            "encoder_block_out_channels": [8] * len(blocks[0]),
            "decoder_block_out_channels": [8] * len(blocks[1]),
            "num_encoder_blocks": blocks[0],
            "num_decoder_blocks": blocks[1],
        }
        ours = DiffusersAutoencoder("AutoencoderTiny", settings).eval().requires_grad_(False)
        for parameter in ours.parameters():
            if parameter.ndim == 4:
                parameter.mul_(3)  # so that what lies far away shows
        images = pictures(440, 72)
        latents = encoded_by_the_library(ours.model, images)
        torch.testing.assert_close(ours.encode(images), latents, rtol=1e-5, atol=1e-5 * float(latents.abs().max()))
        decoded = decoded_by_the_library(ours.model, latents)
        torch.testing.assert_close(ours.decode(latents), decoded, rtol=1e-5, atol=1e-5 * float(decoded.abs().max()))


class TestBadFolders:
    @pytest.mark.parametrize("name", ["config.json", "diffusion_pytorch_model.safetensors"])
    def test_a_missing_file_is_named(self, kl: Path, name: str) -> None:
        (kl / name).unlink()
        with pytest.raises(WeightsError, match=f"not an autoencoder in diffusers' layout.*{name}"):
            DiffusersAutoencoder.from_folder(kl)

    @pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"[]", b"3", b"{}", b"[" * 100_000])
    def test_a_file_that_is_no_configuration(self, kl: Path, text: bytes) -> None:
        (kl / "config.json").write_bytes(text)
        with pytest.raises(WeightsError, match="not an autoencoder in diffusers' layout"):
            DiffusersAutoencoder.from_folder(kl)

    @pytest.mark.parametrize("content", [b"", b"no tensors at all", b"\xff" * 100])
    def test_a_file_that_holds_no_tensors(self, kl: Path, content: bytes) -> None:
        (kl / "diffusion_pytorch_model.safetensors").write_bytes(content)
        with pytest.raises(WeightsError, match="not an autoencoder in diffusers' layout"):
            DiffusersAutoencoder.from_folder(kl)

    def test_a_cut_file(self, kl: Path) -> None:
        file = kl / "diffusion_pytorch_model.safetensors"
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(WeightsError, match="not an autoencoder in diffusers' layout"):
            DiffusersAutoencoder.from_folder(kl)

    def test_weights_of_another_width(self, kl: Path) -> None:
        settings = json.loads((kl / "config.json").read_text())
        (kl / "config.json").write_text(json.dumps({**settings, "latent_channels": 3}))
        with pytest.raises(WeightsError, match="the weights do not fit the configuration") as error:
            DiffusersAutoencoder.from_folder(kl)
        assert "\n" not in str(error.value)

    def test_weights_that_lack_a_tensor(self, kl: Path) -> None:
        file = kl / "diffusion_pytorch_model.safetensors"
        state = {name: value.clone() for name, value in load_file(file).items() if name != "decoder.conv_out.bias"}
        save_file(state, file)
        with pytest.raises(WeightsError, match=r"decoder\.conv_out\.bias"):
            DiffusersAutoencoder.from_folder(kl)

    def test_a_model_of_another_kind(self, kl: Path) -> None:
        settings = json.loads((kl / "config.json").read_text())
        (kl / "config.json").write_text(json.dumps({**settings, "_class_name": "UNet2DModel"}))
        with pytest.raises(ConfigError, match=r"no autoencoder 'UNet2DModel'; .*AutoencoderKL, AutoencoderTiny, AutoencoderDC"):
            DiffusersAutoencoder.from_folder(kl)


@pytest.mark.parametrize(
    "wrong",
    [
        {"latent_channels": "five"},
        {"latent_channels": -1},
        {"block_out_channels": (8, 9, 16)},
        {"block_out_channels": (8,)},
        {"block_out_channels": 8},
        {"norm_num_groups": 0},
        {"down_block_types": ("NoSuchBlock",) * 3},
        {"act_fn": "no such function"},
        {"scaling_factor": "large"},
    ],
)
def test_settings_that_make_no_model_are_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="AutoencoderKL") as error:
        DiffusersAutoencoder("AutoencoderKL", SETTINGS["AutoencoderKL"] | wrong)
    assert "\n" not in str(error.value)


def test_a_class_is_never_taken_by_a_name_from_a_file() -> None:
    with pytest.raises(ConfigError, match="no autoencoder 'DiffusionPipeline'"):
        DiffusersAutoencoder("DiffusionPipeline", {})


def test_a_missing_library_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vtok\[models\]"'):
        DiffusersAutoencoder("AutoencoderTiny", {})
