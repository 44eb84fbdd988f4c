"""Frozen networks that a run stands on, with their weights; a missing file stops the run before its first step."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

import vtok.weights
from vtok.data.files import expand_home
from vtok.errors import ConfigError, WeightsError
from vtok.models.autoencoders import Autoencoder, AutoencoderConfig, build
from vtok.models.autoencoders.diffusers import DiffusersAutoencoder
from vtok.models.autoencoders.registry import DiffusersConfig, PixelsConfig, Taef2Config
from vtok.tokenizers.folder import TENSOR_FILE, read_config
from vtok.tokenizers.vae import Vae

TAEF2 = Path(vtok.weights.__file__).parent / "taef2" / "model.safetensors"
LARGEST_SQUARE = 256  # pixels a side: 18,816 coefficients
PREFIX = "autoencoder."  # of its tensors inside a model file


def frozen_autoencoder(name: str, weights: str, tile_size: int) -> tuple[AutoencoderConfig, Autoencoder]:
    """An autoencoder with its weights, in float32, and the configuration that builds it again.

    Args:
        name: "pixels", "taef2", a folder in diffusers' layout, or the folder of a model of the family `vae`.
        weights: a .safetensors file for "taef2"; empty takes those in the package. The others have their own.
        tile_size: side in pixels of the squares of "pixels".

    Raises:
        ConfigError: a tile that is not a whole number of latents, or wrong settings in a folder.
        WeightsError: no such folder or file, or one that does not fit, or a model of another family.
        MissingExtraError: diffusers is needed and not installed.
    """
    config, autoencoder = _named(name, weights, tile_size)
    if tile_size % autoencoder.downsample:
        raise ConfigError(f"tile_size {tile_size} is not a multiple of the {autoencoder.downsample} pixels of a latent of {name}")
    return config, autoencoder.eval().requires_grad_(False)


def _named(name: str, weights: str, tile_size: int) -> tuple[Any, Autoencoder]:
    if name == "pixels":
        if tile_size > LARGEST_SQUARE:
            raise ConfigError(f"pixels takes tiles of at most {LARGEST_SQUARE} pixels a side, got {tile_size}")
        bright = max(1, round(tile_size * 7 / 16))
        config = PixelsConfig(size=tile_size, bright=bright, colour=max(1, bright // 2))
        return config, build(config)
    if name == "taef2":
        autoencoder = build(Taef2Config())
        _fill(autoencoder, expand_home(weights) if weights else TAEF2)
        return Taef2Config(), autoencoder
    folder = expand_home(name)
    if not folder.is_dir():
        raise WeightsError(f"no autoencoder {name!r}: neither pixels, nor taef2, nor a folder in diffusers' layout or of a vae model")
    loaded = _of_model(folder) if (folder / TENSOR_FILE).is_file() else DiffusersAutoencoder.from_folder(folder)
    return DiffusersConfig(architecture=loaded.architecture, settings=loaded.settings), loaded


def _of_model(folder: Path) -> DiffusersAutoencoder:
    """The autoencoder of a model of the family `vae`."""
    family, _ = read_config(folder)
    if family != Vae.family:
        raise WeightsError(f"{folder}: a {family} model is no autoencoder; give a model of the family {Vae.family}")
    return Vae.from_pretrained(folder).autoencoder


def _fill(autoencoder: Autoencoder, file: Path) -> None:
    """Load tensors named as the autoencoder has them, or as a model file has them (`autoencoder.NAME`)."""
    try:
        with safe_open(file, "pt") as tensors:
            state = {key.removeprefix(PREFIX): key for key in tensors.keys()}  # noqa: SIM118 - not a mapping
            wanted = autoencoder.state_dict()
            if missing := sorted(set(wanted) - set(state)):
                raise WeightsError(f"{file} lacks {len(missing)} tensors of the autoencoder, {missing[0]} among them")
            autoencoder.load_state_dict({name: tensors.get_tensor(state[name]).float() for name in wanted})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{file}: cannot read the autoencoder's weights: {' '.join(str(error).split())[:200]}") from None
