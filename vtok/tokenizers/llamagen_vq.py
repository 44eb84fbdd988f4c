"""LlamaGen's VQ (arXiv 2406.06525, section 2.1): a raster of tokens, codes at the unit sphere; all of them are needed."""

from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from vtok.models.conv import ConvConfig, ConvDecoder, ConvEncoder, LatentHead
from vtok.models.quantizers import Quantizer
from vtok.models.quantizers.config import MAX_TABLE_BYTES
from vtok.models.quantizers.part_config import AnyPart, Part, VqPart, build_part
from vtok.models.quantizers.shared_index import SharedIndexQuantizer
from vtok.models.quantizers.vq import SphericalVectorQuantizer
from vtok.tokenizers.raster import MAX_SIDE, AnySizeRaster
from vtok.tokenizers.titok import scattered

PUBLISHED = VqPart(kind="spherical_vq", dim=8, codebook_size=16384)


class LlamagenVqConfig(ConvConfig):
    """A LlamaGen VQ.

    Args:
        image_size: side in pixels of a tile, a multiple of `downsample`; pictures of other sizes may be encoded too.
        quantizer: what makes a token of a square's latent.
    """

    image_size: int = Field(256, ge=1, le=MAX_SIDE)
    quantizer: Part = PUBLISHED

    @model_validator(mode="after")
    def _the_table_has_a_size(self) -> Self:
        if self.quantizer.table_bytes > MAX_TABLE_BYTES:
            raise ValueError(f"the table would take {self.quantizer.table_bytes:,} bytes, at most {MAX_TABLE_BYTES:,} are allowed")
        return self


class LlamagenVq(AnySizeRaster):
    """Convolutions, with attention at the lowest resolution, around a table of few-dimensional codes.

    Raises:
        ConfigError: a tile that is not a whole number of squares.
    """

    family = "llamagen_vq"
    Config = LlamagenVqConfig

    def __init__(self, config: LlamagenVqConfig):
        super().__init__()
        self.config = config
        self.encoder = ConvEncoder(config)
        self.quantizer = begun_quantizer(config.quantizer)
        self.head = LatentHead(config, self.quantizer.dim)
        self.decoder = ConvDecoder(config, self.quantizer.dim)
        self.set_raster(config.downsample, config.image_size)

    @classmethod
    def tiny(cls) -> Self:
        """4 x 4 tokens of 16 codes for 16 pixels a side; seeded random weights."""
        quantizer = VqPart(kind="spherical_vq", dim=4, codebook_size=16)
        return scattered(cls(LlamagenVqConfig(dim=32, multiples=(1, 2, 1), num_blocks=1, z_dim=16, image_size=16, quantizer=quantizer)))

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether the blocks of each resolution are computed again in the backward pass, which saves memory."""
        self.encoder.checkpointing = self.decoder.checkpointing = on

    def code_state(self) -> Mapping[str, Tensor]:
        """The quantizer and, where nothing of it is learned, what maps to it."""
        own = super().code_state()
        return own if any(True for _ in self.quantizer.parameters()) else {**own, **projection_of(self.head, "head.project.")}

    def encode_map(self, images: Tensor) -> Tensor:
        maps: Tensor = self.head(self.encoder(2 * images.to(self.encoder.conv_in.weight.dtype) - 1))
        return maps

    def decode_map(self, vectors: Tensor) -> Tensor:
        pictures: Tensor = self.decoder(vectors)
        return (pictures + 1) / 2


def projection_of(head: LatentHead, prefix: str) -> dict[str, Tensor]:
    """Its last layer's tensors by their names in a model."""
    return {f"{prefix}{name}": value for name, value in head.project.state_dict(keep_vars=True).items()}


def begun_quantizer(config: AnyPart) -> Quantizer:
    """The quantizer that `config` describes, with the codes that training begins with."""
    quantizer = build_part(config)
    begin_codes(quantizer)
    return quantizer


def begin_codes(quantizer: Quantizer) -> None:
    """Codes that are of length 1 begin there, evenly drawn from a cube, so that the steps of an optimiser turn them by a fitting angle."""
    for table in quantizer.learned_tables():
        if isinstance(table, SphericalVectorQuantizer | SharedIndexQuantizer):
            table.fill(table.place(2 * torch.rand_like(table.codes) - 1))
