"""The autoencoders of the diffusers library: AutoencoderKL, AutoencoderTiny, AutoencoderDC, under our contract."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vtok.errors import ConfigError, MissingExtraError, WeightsError
from vtok.models.autoencoders.base import Autoencoder
from vtok.models.autoencoders.windows import in_windows

ARCHITECTURES = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderDC")
TILED_ABOVE = 1024  # pixels a side; larger pictures go through the model in parts, so that memory is bounded
_REFUSALS = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RuntimeError)  # the library checks little itself
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # as many published files name it


class DiffusersAutoencoder(Autoencoder):
    """One of diffusers' autoencoders, in [0, 1] outside and in [-1, 1] inside; a distribution of latents is read at its mode.

    Latents are shifted and scaled by the model's own `shift_factor` and `scaling_factor` where it has them. Large pictures go through the
    library's own overlapping tiles, which differ a little from the whole; AutoencoderTiny, whose layers are all local, through windows
    that do not.

    Args:
        architecture: one of `ARCHITECTURES`.
        settings: the model's own `config.json`; keys that start with `_` are ignored.

    Raises:
        MissingExtraError: diffusers is not installed.
        ConfigError: an unknown architecture, or settings that it refuses.
    """

    model: Any  # of a library without types that mypy could follow

    def __init__(self, architecture: str, settings: Mapping[str, Any]):
        super().__init__()
        self.architecture = architecture
        self.settings = {key: value for key, value in settings.items() if not key.startswith("_")}
        self.model = _empty(architecture, self.settings)
        config = self.model.config
        self.channels = int(config["latent_channels"])
        widths = config.get("encoder_block_out_channels") or config["block_out_channels"]
        self.downsample = int(2 ** (len(widths) - 1))
        try:
            self.scale = float(config.get("scaling_factor") or 1.0)
            self.shift = float(config.get("shift_factor") or 0.0)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{architecture}: scaling_factor and shift_factor must be numbers: {error}") from None
        self._bound_memory()

    @classmethod
    def from_folder(cls, folder: Path) -> "DiffusersAutoencoder":
        """Read a folder in diffusers' layout: `config.json` and `diffusion_pytorch_model.safetensors`.

        Raises:
            WeightsError: a file is missing or damaged, or does not fit; the message names it.
            MissingExtraError, ConfigError: as of the class.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            state = load_file(folder / "diffusion_pytorch_model.safetensors")
        except (OSError, ValueError, RecursionError, SafetensorError) as error:
            raise WeightsError(f"{folder} is not an autoencoder in diffusers' layout: {_line(error)}") from None
        if not isinstance(settings, dict) or "_class_name" not in settings:
            raise WeightsError(f"{folder} is not an autoencoder in diffusers' layout: config.json has no _class_name")
        autoencoder = cls(str(settings["_class_name"]), settings)
        try:
            autoencoder.model.load_state_dict({_renamed(name): value.float() for name, value in state.items()})
        except RuntimeError as error:
            raise WeightsError(f"{folder}: the weights do not fit the configuration: {_line(error)}") from None
        return autoencoder

    def encode(self, images: Tensor) -> Tensor:
        images = images * 2 - 1
        if self.margin is None:
            latents = self._encode(images)
        else:
            margin, scale = self.margin * self.downsample, 1 / self.downsample
            latents = in_windows(self._encode, images, window=self.window * self.downsample, margin=margin, scale=scale)
        return (latents - self.shift) * self.scale

    def sample(self, images: Tensor) -> Tensor:
        if self.architecture != "AutoencoderKL":
            return self.encode(images)
        drawn: Tensor = self._distribution(images).sample()
        return (drawn - self.shift) * self.scale

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances of AutoencoderKL's latents, as shifted and scaled as these; both float32."""
        found = self._distribution(images)
        return (found.mean.float() - self.shift) * self.scale, found.logvar.float() + 2 * math.log(abs(self.scale))

    def set_scaling_factor(self, factor: float) -> None:
        """Scale latents by `factor` in the place of the factor so far."""
        self.scale = factor
        self.settings = self.settings | {"scaling_factor": factor}

    def decode(self, latents: Tensor) -> Tensor:
        latents = latents / self.scale + self.shift
        if self.margin is None:
            pictures = self._decode(latents)
        else:
            pictures = in_windows(self._decode, latents, window=self.window, margin=self.margin, scale=self.downsample)
        return (pictures + 1) / 2

    def decoder_parameters(self) -> list[nn.Parameter]:
        parts = (self.model.decoder, getattr(self.model, "post_quant_conv", None))
        return [parameter for part in parts if part is not None for parameter in part.parameters()]

    def _distribution(self, images: Tensor) -> Any:
        """The library's own, neither shifted nor scaled, of AutoencoderKL and images in [0, 1]."""
        return self.model.encode(images * 2 - 1).latent_dist

    def _encode(self, images: Tensor) -> Tensor:
        out = self.model.encode(images)
        latents: Tensor = out.latent_dist.mode() if hasattr(out, "latent_dist") else out[0]
        return latents

    def _decode(self, latents: Tensor) -> Tensor:
        pictures: Tensor = self.model.decode(latents)[0]
        return pictures

    def _bound_memory(self) -> None:
        """Set up the parts that a large picture goes through; each class has its own names for them."""
        self.window = TILED_ABOVE // self.downsample
        self.margin: int | None = None  # cells around a window of our own; None where the library cuts
        if self.architecture == "AutoencoderTiny":  # its own tiling takes small pictures too, and 4 channels only
            self.margin = _cells_seen(self.model.config)
        elif self.architecture == "AutoencoderDC":
            stride = TILED_ABOVE - TILED_ABOVE // 4
            self.model.enable_tiling(TILED_ABOVE, TILED_ABOVE, stride, stride)
        else:
            self.model.enable_tiling()
            self.model.tile_sample_min_size = TILED_ABOVE
            self.model.tile_latent_min_size = self.window


def _empty(architecture: str, settings: Mapping[str, Any]) -> nn.Module:
    if architecture not in ARCHITECTURES:
        raise ConfigError(f"no autoencoder {architecture!r}; those of diffusers that are taken: {', '.join(ARCHITECTURES)}")
    try:
        import diffusers

        kind = getattr(diffusers, architecture)
    except ImportError:
        raise MissingExtraError('this autoencoder needs diffusers: pip install "vtok[models]"') from None
    try:
        model: nn.Module = kind.from_config(settings)
    except _REFUSALS as error:
        raise ConfigError(f"{architecture} refuses its settings: {_line(error)}") from None
    return model


def _cells_seen(config: Mapping[str, Any]) -> int:
    """Latents around one that AutoencoderTiny's layers see at most, either way: a block has three 3x3 layers, stages differ by 2."""
    encoder, decoder = config["num_encoder_blocks"], config["num_decoder_blocks"]
    pixels = sum((3 * blocks + 1) * 2**k for k, blocks in enumerate(encoder)) + 2 ** (len(encoder) - 1)
    cells = 1 + sum((3 * blocks + 2) / 2**k for k, blocks in enumerate(decoder))
    return math.ceil(max(pixels / 2 ** (len(encoder) - 1), cells))


def _renamed(name: str) -> str:
    place, _, end = name.rpartition(".")
    block, _, layer = place.rpartition(".")
    known = ".attentions." in name and layer in OLD_ATTENTION
    return f"{block}.{OLD_ATTENTION[layer]}.{end}" if known else name


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
