"""FQGAN (arXiv 2411.16681): a raster of positions, each with a sub-token from every one of a few codebooks that say different things.

One encoder; for each branch an adapter, a head and a codebook of its own; one decoder of all vectors side by side. With two branches it is
the dual, with three the triple model of the paper: the first draws, the others are trained to know what is to be seen.
"""

from collections.abc import Mapping
from typing import Self, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from vtok.models.conv import MAX_NUMBERS, ConvConfig, ConvDecoder, ConvEncoder, LatentHead
from vtok.models.feature_adapter import FeatureAdapter
from vtok.models.quantizers.config import MAX_TABLE_BYTES
from vtok.models.quantizers.factorized import FactorizedQuantizer
from vtok.models.quantizers.part_config import Part, VqPart
from vtok.models.transformer import TransformerConfig
from vtok.tokenizers.llamagen_vq import PUBLISHED, begun_quantizer, projection_of
from vtok.tokenizers.raster import MAX_SIDE, RasterTokenizer
from vtok.tokenizers.titok import scattered


class BranchConfig(BaseModel):
    """One of the things that a position says.

    Args:
        name: by which a training speaks of it.
        depth, heads: of the adapter, a transformer as wide as the encoder's map.
        quantizer: what makes a sub-token of the branch's latent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    depth: int = Field(6, ge=0, le=128)
    heads: int = Field(8, ge=1, le=128)
    quantizer: Part = PUBLISHED


class FqganConfig(ConvConfig):
    """An FQGAN.

    Args:
        image_size: side in pixels, a multiple of `downsample`.
        branches: in the order of the sub-tokens.
    """

    image_size: int = Field(256, ge=1, le=MAX_SIDE)
    branches: tuple[BranchConfig, ...] = Field((BranchConfig(name="vis"), BranchConfig(name="sem")), min_length=1, max_length=16)

    @model_validator(mode="after")
    def _branches_fit(self) -> Self:
        names = [branch.name for branch in self.branches]
        if len(set(names)) < len(names):
            raise ValueError(f"branches have names of their own, got {', '.join(names)}")
        width, squares = self.widths[-1], (self.image_size // self.downsample) ** 2
        for branch in self.branches:
            if width % branch.heads:
                raise ValueError(
                    f"{branch.heads} heads of the branch {branch.name} do not divide the {width} channels of the encoder's map"
                )
        if (size := sum(width * (12 * branch.depth * width + squares) for branch in self.branches)) > MAX_NUMBERS:
            raise ValueError(f"the adapters would have {size:,} numbers, at most {MAX_NUMBERS:,} are allowed")
        if (size := sum(branch.quantizer.table_bytes for branch in self.branches)) > MAX_TABLE_BYTES:
            raise ValueError(f"the tables would take {size:,} bytes, at most {MAX_TABLE_BYTES:,} are allowed")
        return self


class Branch(nn.Module):
    """Maps (B, C, h, w) of the encoder to latents (B, D, h, w) of one codebook."""

    def __init__(self, config: FqganConfig, own: BranchConfig, latent_dim: int):
        super().__init__()
        adapter = TransformerConfig(dim=config.widths[-1], depth=own.depth, heads=own.heads)
        self.adapter = FeatureAdapter(adapter, config.image_size // config.downsample)
        self.head = LatentHead(config, latent_dim)

    def forward(self, maps: Tensor) -> Tensor:
        latents: Tensor = self.head(self.adapter(maps))
        return latents


class FqganTokenizer(RasterTokenizer):
    """Sub-tokens of a position in the order of the branches; adapters have learned the positions of one size.

    Raises:
        ConfigError: a picture that is not a whole number of squares.
    """

    family = "fqgan"
    Config = FqganConfig
    quantizer: FactorizedQuantizer

    def __init__(self, config: FqganConfig):
        super().__init__()
        self.config = config
        self.encoder = ConvEncoder(config)
        self.quantizer = FactorizedQuantizer([begun_quantizer(own.quantizer) for own in config.branches])
        dims = zip(config.branches, self.quantizer.widths, strict=True)
        self.branches = nn.ModuleList(Branch(config, own, latent_dim) for own, latent_dim in dims)
        self.decoder = ConvDecoder(config, self.quantizer.dim)
        self.set_raster(config.downsample, config.image_size)

    @classmethod
    def tiny(cls) -> Self:
        """4 x 4 positions of 16 and 8 codes for 16 pixels a side; seeded random weights."""
        branches = tuple(
            BranchConfig(name=name, depth=1, heads=2, quantizer=VqPart(kind="spherical_vq", dim=4, codebook_size=codebook_size))
            for name, codebook_size in (("vis", 16), ("sem", 8))
        )
        return scattered(cls(FqganConfig(dim=32, multiples=(1, 2, 1), num_blocks=1, z_dim=16, image_size=16, branches=branches)))

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether blocks of convolutions and of transformers are computed again in the backward pass, which saves memory."""
        self.encoder.checkpointing = self.decoder.checkpointing = on
        for branch in self.branches:
            cast(Branch, branch).adapter.transformer.checkpointing = on

    def code_state(self) -> Mapping[str, Tensor]:
        """The quantizer and, of branches where nothing of it is learned, what maps to it."""
        own = dict(super().code_state())
        for number, (branch, part) in enumerate(zip(self.branches, self.quantizer.parts, strict=True)):
            if not any(True for _ in part.parameters()):
                own |= projection_of(cast(Branch, branch).head, f"branches.{number}.head.project.")
        return own

    def encode_map(self, images: Tensor) -> Tensor:
        maps = self.encoder(2 * images.to(self.encoder.conv_in.weight.dtype) - 1)
        return torch.cat([branch(maps) for branch in self.branches], 1)

    def decode_map(self, vectors: Tensor) -> Tensor:
        pictures: Tensor = self.decoder(vectors)
        return (pictures + 1) / 2
