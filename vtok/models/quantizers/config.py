"""Quantizers by what a model's configuration says of them."""

from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vtok.models.quantizers.base import Quantizer
from vtok.models.quantizers.fsq import FiniteScalarQuantizer
from vtok.models.quantizers.grouped_trained import TrainedGroupedQuantizer
from vtok.models.quantizers.vq import SphericalVectorQuantizer, VectorQuantizer

MAX_TABLE_BYTES = 2**30  # a configuration comes from a file: what it asks for is bounded before it is made


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Sized = TypeVar("Sized", bound=_Config)


class GroupedConfig(_Config):
    """A table for each token's own components of one vector (`grouped_trained.TrainedGroupedQuantizer`).

    Args:
        dim: components of the vector.
        codebook_size: codes of each table.
        widths: components that each token codes; as many as there are tokens.
    """

    kind: Literal["grouped"] = "grouped"
    dim: int = Field(ge=1, le=32767)
    codebook_size: int = Field(4096, ge=2, le=65536)
    widths: tuple[int, ...] = Field(min_length=1, max_length=4096)

    @property
    def num_latents(self) -> int:
        return 1

    @model_validator(mode="after")
    def _tables_have_a_size(self) -> Self:
        if min(self.widths) < 1:
            raise ValueError("every token codes at least one component")
        return _bounded(self, 4 * sum(self.widths) * self.codebook_size)


class VqConfig(_Config):
    """Tokens of a learned table (`vq`).

    Args:
        kind: "vq" takes the nearest code, "spherical_vq" the one at the smallest angle.
        num_tokens: of a string.
        dim: numbers of a token's vector.
        codebook_size: codes of a table.
        shared: one table for all tokens, otherwise each has its own.
    """

    kind: Literal["vq", "spherical_vq"] = "vq"
    num_tokens: int = Field(ge=1, le=4096)
    dim: int = Field(12, ge=1, le=4096)
    codebook_size: int = Field(4096, ge=2, le=2**20)
    shared: bool = True

    @property
    def num_latents(self) -> int:
        return self.num_tokens

    @model_validator(mode="after")
    def _tables_have_a_size(self) -> Self:
        return _bounded(self, 4 * self.dim * self.codebook_size * (1 if self.shared else self.num_tokens))


class FsqConfig(_Config):
    """Tokens of rounded components (`fsq.FiniteScalarQuantizer`).

    Args:
        num_tokens: of a string.
        levels: of each component.
    """

    kind: Literal["fsq"] = "fsq"
    num_tokens: int = Field(ge=1, le=4096)
    levels: tuple[int, ...] = Field((8, 8, 8, 6, 5), min_length=1, max_length=64)

    @property
    def num_latents(self) -> int:
        return self.num_tokens


QuantizerConfig = Annotated[GroupedConfig | VqConfig | FsqConfig, Field(discriminator="kind")]


def build(config: GroupedConfig | VqConfig | FsqConfig) -> Quantizer:
    """The quantizer that `config` describes.

    Raises:
        ConfigError: levels that FSQ does not take.
    """
    match config:
        case GroupedConfig():
            return TrainedGroupedQuantizer(config.dim, config.widths, config.codebook_size)
        case VqConfig():
            kind = VectorQuantizer if config.kind == "vq" else SphericalVectorQuantizer
            return kind(config.dim, config.codebook_size, num_tables=1 if config.shared else config.num_tokens)
        case FsqConfig():
            return FiniteScalarQuantizer(config.levels)


def _bounded(config: Sized, size_bytes: int) -> Sized:
    if size_bytes > MAX_TABLE_BYTES:
        raise ValueError(f"the tables would take {size_bytes:,} bytes, at most {MAX_TABLE_BYTES:,} are allowed")
    return config
