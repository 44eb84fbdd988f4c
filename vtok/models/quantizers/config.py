"""Quantizers by what a model's configuration says of them: those of strings, whose parts `part_config` has."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from torch import nn

from vtok.models.quantizers.base import Quantizer
from vtok.models.quantizers.cascade import CascadedQuantizer
from vtok.models.quantizers.factorized import FactorizedQuantizer
from vtok.models.quantizers.grouped_trained import TrainedGroupedQuantizer
from vtok.models.quantizers.multi_codebook import MultiCodebookQuantizer
from vtok.models.quantizers.multiscale_cumulative import CumulativeMultiscaleQuantizer
from vtok.models.quantizers.multiscale_stagewise import StagewiseMultiscaleQuantizer
from vtok.models.quantizers.part_config import (
    BsqPart,
    FsqPart,
    IbqPart,
    LfqPart,
    LibraryPart,
    MultiCodebookPart,
    Part,
    SharedIndexPart,
    SimVqPart,
    Tables,
    VqPart,
    build_part,
)
from vtok.models.quantizers.residual import ResidualQuantizer

MAX_POSITIONS = 65_536  # of a multi-scale string
MAX_TABLE_BYTES = 2**30  # a configuration comes from a file: what it asks for is bounded before it is made


class StringConfig(BaseModel):
    """A quantizer of all latents of a string."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def table_bytes(self) -> int:
        """What its tables take."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _tables_have_a_size(self) -> Self:
        if self.table_bytes > MAX_TABLE_BYTES:
            raise ValueError(f"the tables would take {self.table_bytes:,} bytes, at most {MAX_TABLE_BYTES:,} are allowed")
        return self


class _OneForEach(StringConfig):
    """Latent k is token k.

    Args:
        num_tokens: of a string.
    """

    num_tokens: int = Field(ge=1, le=4096)

    @property
    def num_latents(self) -> int:
        return self.num_tokens


class GroupedConfig(StringConfig):
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

    @property
    def table_bytes(self) -> int:
        return 4 * sum(self.widths) * self.codebook_size

    @model_validator(mode="after")
    def _every_token_codes_something(self) -> Self:
        if min(self.widths) < 1:
            raise ValueError("every token codes at least one component")
        return self


class VqConfig(VqPart, _OneForEach):
    """Tokens of a learned table.

    Args:
        shared: one table for all tokens, otherwise each has its own.
    """

    shared: bool = True

    @property
    def table_bytes(self) -> int:
        return super().table_bytes * (1 if self.shared else self.num_tokens)


class SimVqConfig(SimVqPart, _OneForEach):
    """Tokens of a table that one matrix makes of fixed codes."""


class IbqConfig(IbqPart, _OneForEach):
    """Tokens of a table all of whose codes take gradients."""


class FsqConfig(FsqPart, _OneForEach):
    """Tokens of rounded components."""


class LfqConfig(LfqPart, _OneForEach):
    """Tokens of signs."""


class BsqConfig(BsqPart, _OneForEach):
    """Tokens of signs on a sphere."""


class LibraryConfig(LibraryPart, _OneForEach):
    """Tokens of a class of vector-quantize-pytorch."""


class MultiCodebookConfig(MultiCodebookPart, _OneForEach):
    """Tokens of several tables drawn in training."""


class ResidualConfig(_OneForEach):
    """Tokens in stages, each of which codes what the ones before have left (`residual`).

    Args:
        stages: what each stage is, or one for all, which then share it.
        num_stages: how many there are where they share one; None: as many as are given.
        scales: what each stage takes for 1, see `residual`; 1 when empty.
    """

    kind: Literal["residual"] = "residual"
    stages: tuple[Part, ...] = Field(min_length=1, max_length=64)
    num_stages: int | None = Field(None, ge=1, le=64)
    scales: tuple[float, ...] = ()

    @property
    def table_bytes(self) -> int:
        return sum(stage.table_bytes for stage in self.stages)


class FactorizedConfig(_OneForEach):
    """Tokens of branches, each of which codes its own slice of a vector (`factorized`).

    Args:
        branches: what each branch is, in the order of the slices.
    """

    kind: Literal["factorized"] = "factorized"
    branches: tuple[Part, ...] = Field(min_length=1, max_length=64)

    @property
    def table_bytes(self) -> int:
        return sum(branch.table_bytes for branch in self.branches)


class SharedIndexConfig(SharedIndexPart, _OneForEach):
    """Tokens whose one id stands for a code of each part of a vector."""


class CascadeConfig(Tables, StringConfig):
    """Tokens of a string of vectors and of its halves, quarters, ..., the finest first (`cascade`, McQuic).

    Args:
        num_latents: vectors, a multiple of 2 to the power of the levels after the first.
        num_levels: how many there are.
    """

    kind: Literal["cascade"] = "cascade"
    num_latents: int = Field(ge=1, le=4096)
    num_levels: int = Field(2, ge=1, le=12)

    @property
    def table_bytes(self) -> int:
        return self.num_levels * super().table_bytes

    @model_validator(mode="after")
    def _levels_halve(self) -> Self:
        if self.num_latents % 2 ** (self.num_levels - 1):
            raise ValueError(f"{self.num_latents} vectors cannot be halved {self.num_levels - 1} times")
        return self


class _ScalesConfig(StringConfig):
    """
    Args:
        scales: rows and columns of each scale, or its length in one dimension; the last is the map, or the string, that is coded.
        part: what codes the cells of all scales.
    """

    scales: tuple[tuple[int, int] | int, ...] = Field(min_length=1, max_length=64)
    part: Part

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Rows, columns of each scale."""
        return tuple((1, scale) if isinstance(scale, int) else scale for scale in self.scales)

    @property
    def num_latents(self) -> int:
        rows, cols = self.sizes[-1]
        return rows * cols

    @property
    def table_bytes(self) -> int:
        return self.part.table_bytes

    @model_validator(mode="after")
    def _scales_have_cells(self) -> Self:
        if min(min(size) for size in self.sizes) < 1 or sum(rows * cols for rows, cols in self.sizes) > MAX_POSITIONS:
            raise ValueError(f"scales have rows and columns, and {MAX_POSITIONS:,} cells in all at most")
        return self


class MultiscaleConfig(_ScalesConfig):
    """Tokens of maps of several sizes, from the smallest, whose smoothed sums are the vectors (`multiscale_cumulative`, VAR).

    Args:
        num_convolutions: that smooth, from one for all scales to one for each; 0 for none.
        ratio: share of the smoothed map.
    """

    kind: Literal["multiscale"] = "multiscale"
    num_convolutions: int = Field(4, ge=0, le=64)
    ratio: float = Field(0.5, ge=0, le=1)


class StagewiseMultiscaleConfig(_ScalesConfig):
    """Tokens of maps of several sizes, each of which learns by itself (`multiscale_stagewise`, TokenFlow)."""

    kind: Literal["multiscale_stagewise"] = "multiscale_stagewise"


AnyTokenwise = (
    VqConfig
    | SimVqConfig
    | IbqConfig
    | FsqConfig
    | LfqConfig
    | BsqConfig
    | MultiCodebookConfig
    | LibraryConfig
    | ResidualConfig
    | FactorizedConfig
    | SharedIndexConfig
)
AnyConfig = AnyTokenwise | GroupedConfig | CascadeConfig | MultiscaleConfig | StagewiseMultiscaleConfig
QuantizerConfig = Annotated[AnyConfig, Field(discriminator="kind")]
"""The type of the setting: `quantizer = { kind = "lfq", num_tokens = 64, dim = 12 }`."""


def _kind_or(usual: str) -> Discriminator:
    """Take values without a kind for those of the usual one."""
    return Discriminator(lambda value: value.get("kind", usual) if isinstance(value, Mapping) else getattr(value, "kind", None))


_Tokenwise = (
    Annotated[VqConfig, Tag("vq")]
    | Annotated[VqConfig, Tag("spherical_vq")]
    | Annotated[SimVqConfig, Tag("simvq")]
    | Annotated[IbqConfig, Tag("ibq")]
    | Annotated[FsqConfig, Tag("fsq")]
    | Annotated[FsqConfig, Tag("symmetric_fsq")]
    | Annotated[LfqConfig, Tag("lfq")]
    | Annotated[BsqConfig, Tag("bsq")]
    | Annotated[MultiCodebookConfig, Tag("multi_codebook")]
    | Annotated[LibraryConfig, Tag("library")]
    | Annotated[ResidualConfig, Tag("residual")]
    | Annotated[FactorizedConfig, Tag("factorized")]
    | Annotated[SharedIndexConfig, Tag("shared_index")]
)
VqByDefault = Annotated[_Tokenwise, _kind_or("vq")]
"""Of families whose tokens are vectors one by one; "vq" where no kind is named."""
FsqByDefault = Annotated[_Tokenwise, _kind_or("fsq")]


def build(config: AnyConfig) -> Quantizer:
    """The quantizer that `config` describes.

    Raises:
        ConfigError: parts that make no quantizer, or do not fit together.
    """
    match config:
        case GroupedConfig():
            return TrainedGroupedQuantizer(config.dim, config.widths, config.codebook_size)
        case ResidualConfig():
            return ResidualQuantizer([build_part(own) for own in config.stages], config.num_stages, scales=config.scales or None)
        case FactorizedConfig():
            return FactorizedQuantizer([build_part(own) for own in config.branches])
        case MultiscaleConfig():
            num, ratio = config.num_convolutions, config.ratio
            return CumulativeMultiscaleQuantizer(build_part(config.part), config.sizes, num_convolutions=num, ratio=ratio)
        case StagewiseMultiscaleConfig():
            return StagewiseMultiscaleQuantizer(build_part(config.part), config.sizes)
        case VqConfig():
            return build_part(config, num_tables=1 if config.shared else config.num_tokens)
        case CascadeConfig():
            return halving_cascade(config)
        case _:
            return build_part(config)


def halving_cascade(config: CascadeConfig) -> CascadedQuantizer:
    """Levels of a string of vectors, each half as long as the one before, by strided convolutions and back."""
    dim, steps = config.dim, [(1, 1), *[(1, 2)] * (config.num_levels - 1)]
    parts = [MultiCodebookQuantizer(dim, config.codebook_size, config.num_groups) for _ in steps]
    down = [nn.Conv2d(dim, dim, step, stride=step) for step in steps]
    up = [nn.ConvTranspose2d(dim, dim, step, stride=step) for step in steps]
    return CascadedQuantizer(dim, (1, config.num_latents), parts, down, up)


def scales_of(config: AnyConfig) -> tuple[tuple[int, int], ...] | None:
    """Rows, columns of each scale of a multi-scale string; None for others."""
    match config:
        case MultiscaleConfig() | StagewiseMultiscaleConfig():
            return config.sizes
        case CascadeConfig():
            return tuple((1, config.num_latents >> level) for level in range(config.num_levels))
        case _:
            return None
