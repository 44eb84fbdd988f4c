"""Towers by what a model's configuration says of them."""

from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vtok.errors import ConfigError
from vtok.models.conv import MAX_NUMBERS
from vtok.models.towers.base import Tower
from vtok.models.transformer import TransformerConfig

Sizes = TypeVar("Sizes", bound=TransformerConfig)


class ClipConfig(TransformerConfig):
    """CLIP's (`clip.ClipTower`); as left out it is ViT-B/16.

    Args:
        patch_size: side of a patch in pixels.
        side: rows and columns of the learned positions; for pictures of other sizes positions are found between them.
    """

    kind: Literal["clip"] = "clip"
    dim: int = Field(768, ge=1, le=8192)
    depth: int = Field(12, ge=0, le=128)
    heads: int = Field(12, ge=1, le=128)
    patch_size: int = Field(16, ge=1, le=1024)
    side: int = Field(14, ge=1, le=1024)

    @model_validator(mode="after")
    def _a_size_is_some(self) -> Self:
        return _bounded(self, 12 * self.depth * self.dim + self.side**2 + 3 * self.patch_size**2)


class SiglipConfig(TransformerConfig):
    """SigLIP's (`siglip.SiglipTower`); as left out it is SO400M, but for its last block.

    Args:
        hidden: width of the MLPs.
        patch_size: side of a patch in pixels.
    """

    kind: Literal["siglip"] = "siglip"
    dim: int = Field(1152, ge=1, le=8192)
    depth: int = Field(26, ge=0, le=128)
    heads: int = Field(16, ge=1, le=128)
    hidden: int = Field(4304, ge=1, le=32768)
    patch_size: int = Field(14, ge=1, le=1024)

    @model_validator(mode="after")
    def _a_size_is_some(self) -> Self:
        return _bounded(self, self.depth * (4 * self.dim + 2 * self.hidden) + 3 * self.patch_size**2)


class VitaminConfig(BaseModel):
    """A ViTamin of timm (`vitamin.VitaminTower`).

    Args:
        name: of the model there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["vitamin"] = "vitamin"
    name: str = "vitamin_xlarge_256"
    patch_size: ClassVar = 16


AnyTower = ClipConfig | SiglipConfig | VitaminConfig
TowerConfig = Annotated[AnyTower, Field(discriminator="kind")]


def build(config: AnyTower, image_size: int) -> Tower:
    """The tower that `config` describes, for pictures of so many pixels a side, with random weights.

    Raises:
        MissingExtraError: a library is needed and not installed.
        ConfigError: a model that the library does not have, or pictures that are not whole patches.
    """
    if image_size < config.patch_size or (image_size % config.patch_size and not isinstance(config, SiglipConfig)):
        raise ConfigError(f"image_size {image_size} is not a multiple of the tower's patch_size {config.patch_size}")
    match config:
        case ClipConfig():
            from vtok.models.towers.clip import ClipTower

            return ClipTower(config, config.patch_size, config.side)
        case SiglipConfig():
            from vtok.models.towers.siglip import SiglipTower

            return SiglipTower(config, config.hidden, config.patch_size, image_size)
        case VitaminConfig():
            from vtok.models.towers.vitamin import VitaminTower

            return VitaminTower(config.name, image_size)


def _bounded(config: Sizes, numbers_by_width: int) -> Sizes:
    if (size := config.dim * numbers_by_width) > MAX_NUMBERS:
        raise ValueError(f"the tower would have {size:,} numbers, at most {MAX_NUMBERS:,} are allowed")
    return config
