"""Discriminators by what a recipe says of them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from torch import nn

from vtok.models.discriminators.blur_pool import BlurPoolDiscriminator
from vtok.models.discriminators.patch import PatchDiscriminator, PatchNorm


class PatchConfig(BaseModel):
    """One logit for each overlapping patch (`patch.PatchDiscriminator`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["patch"] = "patch"
    dim: int = Field(64, ge=1, le=1024)
    depth: int = Field(3, ge=1, le=8)
    norm: PatchNorm = "group"

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        if self.norm == "group" and self.dim % 16:
            raise ValueError(f"dim is a multiple of 16 with group norm, got {self.dim}")
        return self

    @property
    def least_side(self) -> int:
        """Of a picture, in pixels: after the halvings two convolutions take one each, and norms need more than one place."""
        return 4 * 2**self.depth


class BlurPoolConfig(BaseModel):
    """16 x 16 logits of a picture of any size (`blur_pool.BlurPoolDiscriminator`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["blur_pool"] = "blur_pool"
    dim: int = Field(128, ge=32, le=512, multiple_of=32)
    depth: int = Field(3, ge=1, le=6)

    @property
    def least_side(self) -> int:
        """Of a picture, in pixels: norms need more than one place after the halvings."""
        return 2 * 2**self.depth


def _patch_by_default(value: Any) -> Any:
    return {"kind": "patch"} | value if isinstance(value, dict) else value


AnyDiscriminator = PatchConfig | BlurPoolConfig
DiscriminatorConfig = Annotated[AnyDiscriminator, Field(discriminator="kind"), BeforeValidator(_patch_by_default)]


def build(config: AnyDiscriminator) -> nn.Module:
    """The discriminator that `config` describes: pictures (B, 3, H, W) in [0, 1] -> logits (B, 1, h, w), high for images."""
    match config:
        case PatchConfig():
            return PatchDiscriminator(config.dim, config.depth, norm=config.norm)
        case BlurPoolConfig():
            return BlurPoolDiscriminator(config.dim, config.depth)
