"""Autoencoders by what a model's configuration says of them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vtok.models.autoencoders.base import Autoencoder


class PixelsConfig(BaseModel):
    """No network: the low frequencies of squares of pixels (`pixels.Pixels`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["pixels"] = "pixels"
    size: int = Field(64, ge=4, le=256)
    bright: int = Field(28, ge=1, le=256)
    colour: int = Field(14, ge=1, le=256)

    @model_validator(mode="after")
    def _frequencies_fit(self) -> Self:
        if max(self.bright, self.colour) > self.size:
            raise ValueError(f"bright and colour are at most size = {self.size}, got {self.bright} and {self.colour}")
        return self


class Taef2Config(BaseModel):
    """The tiny autoencoder of the FLUX.2 latent space (`taef2.Taef2`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["taef2"] = "taef2"


class DiffusersConfig(BaseModel):
    """An autoencoder of the diffusers library, described by its own `config.json` (`diffusers.DiffusersAutoencoder`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["diffusers"] = "diffusers"
    architecture: Literal["AutoencoderKL", "AutoencoderTiny", "AutoencoderDC"]
    settings: dict[str, Any]


AutoencoderConfig = Annotated[PixelsConfig | Taef2Config | DiffusersConfig, Field(discriminator="kind")]


def build(config: PixelsConfig | Taef2Config | DiffusersConfig) -> Autoencoder:
    """The autoencoder that `config` describes, its weights not yet filled in.

    Raises:
        MissingExtraError: diffusers is needed and not installed.
        ConfigError: settings that diffusers refuses.
    """
    match config:
        case PixelsConfig():
            from vtok.models.autoencoders.pixels import Pixels

            return Pixels(config.size, config.bright, config.colour)
        case Taef2Config():
            from vtok.models.autoencoders.taef2 import Taef2

            return Taef2()
        case DiffusersConfig():
            from vtok.models.autoencoders.diffusers import DiffusersAutoencoder

            return DiffusersAutoencoder(config.architecture, config.settings)
