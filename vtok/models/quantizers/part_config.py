"""What a configuration says of a quantizer of single latents, alone or as a part of another."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vtok.models.quantizers.base import Quantizer
from vtok.models.quantizers.bits import FirstBit
from vtok.models.quantizers.bsq import BinarySphericalQuantizer
from vtok.models.quantizers.entropy import EntropyConfig
from vtok.models.quantizers.estimators import Estimator
from vtok.models.quantizers.fsq import FiniteScalarQuantizer, SymmetricScalarQuantizer
from vtok.models.quantizers.ibq import IndexBackpropagationQuantizer
from vtok.models.quantizers.lfq import LookupFreeQuantizer
from vtok.models.quantizers.library import LibraryQuantizer
from vtok.models.quantizers.multi_codebook import MultiCodebookQuantizer
from vtok.models.quantizers.shared_index import SharedIndexQuantizer
from vtok.models.quantizers.simvq import SimVectorQuantizer
from vtok.models.quantizers.vq import SphericalVectorQuantizer, VectorQuantizer


class PartConfig(BaseModel):
    """One quantizer of latents, each by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def table_bytes(self) -> int:
        """What its tables take."""
        return 0


class _Table(PartConfig):
    """
    Args:
        dim: numbers of a vector.
        codebook_size: codes of the table.
    """

    dim: int = Field(12, ge=1, le=4096)
    codebook_size: int = Field(4096, ge=2, le=2**20)

    @property
    def table_bytes(self) -> int:
        return 4 * self.dim * self.codebook_size


class VqPart(_Table):
    """A learned table (`vq`).

    Args:
        kind: "vq" takes the nearest code, "spherical_vq" the one at the smallest angle.
        estimator: how gradients pass, see `estimators`.
        entropy: of the loss "entropy"; None leaves it out.
    """

    kind: Literal["vq", "spherical_vq"] = "vq"
    estimator: Estimator = "straight_through"
    entropy: EntropyConfig | None = None


class SimVqPart(_Table):
    """Codes that one learned matrix makes of fixed ones (`simvq`)."""

    kind: Literal["simvq"] = "simvq"


class IbqPart(_Table):
    """The code of the largest dot product, with gradients to all of them (`ibq`).

    Args:
        entropy: of the loss "entropy"; None leaves it out.
    """

    kind: Literal["ibq"] = "ibq"
    entropy: EntropyConfig | None = EntropyConfig()


class FsqPart(PartConfig):
    """Rounded components (`fsq`).

    Args:
        kind: "symmetric_fsq" puts levels evenly about 0 for even numbers of them too.
        levels: of each component.
    """

    kind: Literal["fsq", "symmetric_fsq"] = "fsq"
    levels: tuple[int, ...] = Field((8, 8, 8, 6, 5), min_length=1, max_length=64)


class LfqPart(PartConfig):
    """Signs of components (`lfq`).

    Args:
        dim: components, bits of a position.
        sub_bits: of each sub-token; one of all bits when empty.
        first_bit: whether a sub-token's first component is its least or its most significant bit.
        entropy: of the loss "entropy"; None leaves it out.
        joint_bits: that the loss takes together, all when None; see `lfq`.
    """

    kind: Literal["lfq"] = "lfq"
    dim: int = Field(12, ge=1, le=4096)
    sub_bits: tuple[int, ...] = ()
    first_bit: FirstBit = "least"
    entropy: EntropyConfig | None = EntropyConfig()
    joint_bits: int | None = Field(None, ge=1, le=24)


class BsqPart(PartConfig):
    """Signs of components on a sphere (`bsq`).

    Args:
        dim, sub_bits, first_bit, entropy, joint_bits: as of `LfqPart`.
    """

    kind: Literal["bsq"] = "bsq"
    dim: int = Field(12, ge=1, le=4096)
    sub_bits: tuple[int, ...] = ()
    first_bit: FirstBit = "most"
    entropy: EntropyConfig | None = EntropyConfig(temperature=1.0)
    joint_bits: int = Field(1, ge=1, le=24)


class SharedIndexPart(PartConfig):
    """One id for a code of each part of a vector (`shared_index`).

    Args:
        widths: numbers of each part.
        codebook_size: rows of the table.
        weights: of each part's distance; 1 when empty.
        estimator, entropy: as of VQ.
    """

    kind: Literal["shared_index"] = "shared_index"
    widths: tuple[int, ...] = Field(min_length=1, max_length=64)
    codebook_size: int = Field(4096, ge=2, le=2**20)
    weights: tuple[float, ...] = ()
    estimator: Estimator = "straight_through"
    entropy: EntropyConfig | None = None

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return sum(self.widths)

    @property
    def table_bytes(self) -> int:
        return 4 * self.dim * self.codebook_size

    @model_validator(mode="after")
    def _parts_have_numbers(self) -> Self:
        if min(self.widths) < 1:
            raise ValueError("every part has at least one number")
        return self


class LibraryPart(PartConfig):
    """A class of the package vector-quantize-pytorch (`library`).

    Args:
        name: of the class.
        dim: numbers of a vector.
        options: that it takes.
    """

    kind: Literal["library"] = "library"
    name: str
    dim: int = Field(ge=1, le=4096)
    options: dict[str, Any] = {}


class Tables(PartConfig):
    """Tables for groups of components, drawn by Gumbel-softmax in training (`multi_codebook`).

    The draws are PyTorch's own: a run resumes as if unbroken, but two processes draw otherwise than one.

    Args:
        dim: numbers of a vector.
        codebook_size: codes of each table.
        num_groups: tables, which divide `dim`.
    """

    dim: int = Field(12, ge=1, le=4096)
    codebook_size: int = Field(256, ge=2, le=65536)
    num_groups: int = Field(2, ge=1, le=4096)

    @property
    def table_bytes(self) -> int:
        return 4 * self.dim * self.codebook_size


class MultiCodebookPart(Tables):
    """These tables alone."""

    kind: Literal["multi_codebook"] = "multi_codebook"


AnyPart = VqPart | SimVqPart | IbqPart | FsqPart | LfqPart | BsqPart | SharedIndexPart | MultiCodebookPart | LibraryPart
Part = Annotated[AnyPart, Field(discriminator="kind")]


def build_part(config: AnyPart, *, num_tables: int = 1) -> Quantizer:
    """The quantizer that `config` describes.

    Args:
        num_tables: of VQ.

    Raises:
        ConfigError: levels or bits that make no codes, or weights that are not one for each part.
    """
    match config:
        case VqPart():
            kind = VectorQuantizer if config.kind == "vq" else SphericalVectorQuantizer
            size, estimator = config.codebook_size, config.estimator
            return kind(config.dim, size, num_tables=num_tables, estimator=estimator, entropy=config.entropy)
        case SimVqPart():
            return SimVectorQuantizer(config.dim, config.codebook_size)
        case IbqPart():
            return IndexBackpropagationQuantizer(config.dim, config.codebook_size, entropy=config.entropy)
        case FsqPart():
            return (FiniteScalarQuantizer if config.kind == "fsq" else SymmetricScalarQuantizer)(config.levels)
        case LfqPart():
            first, joint = config.first_bit, config.joint_bits
            return LookupFreeQuantizer(config.dim, sub_bits=config.sub_bits, first_bit=first, entropy=config.entropy, joint_bits=joint)
        case BsqPart():
            first, together = config.first_bit, config.joint_bits
            return BinarySphericalQuantizer(
                config.dim, sub_bits=config.sub_bits, first_bit=first, entropy=config.entropy, joint_bits=together
            )
        case SharedIndexPart():
            size, weights = config.codebook_size, config.weights or None
            return SharedIndexQuantizer(config.widths, size, weights=weights, estimator=config.estimator, entropy=config.entropy)
        case LibraryPart():
            return LibraryQuantizer(config.name, config.dim, **config.options)
        case MultiCodebookPart():
            return MultiCodebookQuantizer(config.dim, config.codebook_size, config.num_groups)
