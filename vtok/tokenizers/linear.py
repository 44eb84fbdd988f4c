"""`linear`: nested linear coding of tiles of latents. Principal components, one table for each token, nothing learnt by gradient.

A frozen autoencoder turns the whole picture into a map of latents (or `pixels`, which is no network). A tile of the map is one vector z;
its components are y = analysis (z - mean), of falling importance; token k codes its own few of them by the nearest row of its own table;
a missing token is the mean. Decoding is z = mean + synthesis y, tile by tile, then the autoencoder over the whole map, so borders between
tiles are faint. Token strings are nested by construction.
"""

from collections.abc import Mapping
from typing import Self

import torch
from einops import rearrange
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from vtok.errors import ConfigError
from vtok.models.autoencoders import Autoencoder, AutoencoderConfig, build
from vtok.models.autoencoders.registry import PixelsConfig
from vtok.models.decoders import Decoded
from vtok.models.int8 import from_int8, to_int8
from vtok.models.quantizers.grouped import GroupedQuantizer
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.spec import TokenSpec
from vtok.tokenizers.tiles import cut_tiles, stitch_tiles
from vtok.tokenizers.whole_picture import WholePictureTokenizer

MAX_TABLE_BYTES = 2**30  # a configuration comes from a file: what it asks for is bounded before it is made


class LinearConfig(BaseModel):
    """Sizes of a `linear` tokenizer.

    Args:
        autoencoder: what makes the latents.
        tile_size: side of a tile in pixels, a multiple of the autoencoder's downsampling.
        num_components: components kept of a tile.
        codebook_size: rows of each token's table.
        widths: components that each token codes; as many as there are tokens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    autoencoder: AutoencoderConfig
    tile_size: int = Field(64, ge=4, le=1024)
    num_components: int = Field(ge=1, le=32767)
    codebook_size: int = Field(4096, ge=2, le=65536)
    widths: tuple[int, ...] = Field(min_length=1, max_length=4096)

    @model_validator(mode="after")
    def _tables_have_a_size(self) -> Self:
        if min(self.widths) < 1:
            raise ValueError("every token codes at least one component")
        if (size := sum(self.widths) * self.codebook_size) > MAX_TABLE_BYTES:
            raise ValueError(f"the tables would take {size:,} bytes, at most {MAX_TABLE_BYTES:,} are allowed")
        return self


class LinearTokenizer(WholePictureTokenizer):
    """Nested strings for square tiles; large pictures are encoded and decoded as a whole, only the tokens are tile by tile.

    Raises:
        ConfigError: a tile that is not a whole number of latents.
    """

    family = "linear"
    Config = LinearConfig

    autoencoder: Autoencoder
    quantizer: GroupedQuantizer
    mean: Tensor  # (D,) float16 of a tile's latents
    analysis: Tensor  # (num_components, D) int8
    analysis_scales: Tensor  # (num_components, 1)
    synthesis: Tensor  # (D, num_components) int8
    synthesis_scales: Tensor  # (1, num_components)

    def __init__(self, config: LinearConfig):
        super().__init__()
        self.config = config
        self.autoencoder = build(config.autoencoder)
        cells, rest = divmod(config.tile_size, self.autoencoder.downsample)
        if rest:
            raise ConfigError(f"tile_size {config.tile_size} is not a multiple of the autoencoder's {self.autoencoder.downsample} pixels")
        self.cells = (cells, cells)
        dim = self.autoencoder.channels * cells * cells
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float16))
        self.register_buffer("analysis", torch.zeros(config.num_components, dim, dtype=torch.int8))
        self.register_buffer("analysis_scales", torch.ones(config.num_components, 1))
        self.register_buffer("synthesis", torch.zeros(dim, config.num_components, dtype=torch.int8))
        self.register_buffer("synthesis_scales", torch.ones(1, config.num_components))
        self.quantizer = GroupedQuantizer(config.num_components, config.widths, config.codebook_size)
        num_tokens, size = len(config.widths), (config.tile_size, config.tile_size)
        self.spec = TokenSpec((config.codebook_size,), num_tokens, tuple(range(1, num_tokens + 1)), size, size)

    @classmethod
    def tiny(cls) -> Self:
        """8 tokens of 16 codes on 16-pixel tiles of plain pixels, a random orthonormal basis; seeded."""
        generator = torch.Generator().manual_seed(0)
        pixels = PixelsConfig(size=16, bright=4, colour=2)
        config = LinearConfig(autoencoder=pixels, tile_size=16, num_components=12, codebook_size=16, widths=(1, 1, 1, 2, 2, 2, 2, 2))
        model = cls(config)
        basis = torch.linalg.qr(torch.randn(24, 24, generator=generator)).Q[:, :12]
        model.fill(torch.cat([torch.tensor([12.0]), torch.zeros(23)]), basis.T, basis)
        model.quantizer.components = torch.arange(sum(config.widths)).remainder(12).short()
        model.quantizer.fill([torch.randn(16, width, generator=generator) for width in config.widths])
        return model.eval()

    def fill(self, mean: Tensor, analysis: Tensor, synthesis: Tensor) -> None:
        """Take the mean (D,) and the bases (num_components, D) and (D, num_components), rounded to what is stored."""
        self.mean = mean.half()
        self.analysis, self.analysis_scales = to_int8(analysis, 1)
        self.synthesis, self.synthesis_scales = to_int8(synthesis, 0)

    def code_state(self) -> Mapping[str, Tensor]:
        bases = {"mean": self.mean, "synthesis": self.synthesis, "synthesis_scales": self.synthesis_scales}
        return {**bases, **self.quantizer.state_dict()}

    def stored_state(self) -> dict[str, Tensor]:
        """The autoencoder in half precision, in which its weights were published; the rest as it is."""
        state = self.state_dict()
        return {name: value.half() if name.startswith("autoencoder.") else value for name, value in state.items()}

    def after_load(self) -> None:
        """The autoencoder runs in float32; tables and bases are widened where they are used.

        Raises:
            WeightsError: components that the vector does not have.
        """
        self.quantizer.check_components()
        self.autoencoder.float().to(memory_format=torch.channels_last)  # convolutions on a processor are a quarter faster so

    def latents(self, images: Tensor) -> Tensor:
        return self._components(self.autoencoder.encode(images.float()))

    def lookup(self, ids: Tensor, lengths: Tensor) -> Tensor:
        return self.quantizer.lookup(ids, lengths)

    @torch.no_grad()
    def encode_grid(self, images: Tensor, num_tokens: int | None = None, *, overlap: int = 0) -> Tokens:
        tokens, _ = self.encode_grid_with_errors(images, overlap=overlap)
        return tokens if num_tokens is None else tokens.prefix(num_tokens)

    def decode_map(self, vectors: Tensor, lengths: Tensor, rows: int, cols: int) -> Decoded:  # noqa: ARG002 - zeros stand for what is cut
        latents = stitch_tiles(self._tiles(vectors), rows, cols)
        del vectors  # as large as half the latents, of no use to the autoencoder
        return Decoded(self.autoencoder.decode(latents))

    def _components(self, latents: Tensor) -> Tensor:
        """A map (B, C, rows * h, cols * w) to components (B * rows * cols, 1, num_components)."""
        tiles = cut_tiles(latents, self.cells).flatten(1)
        return (tiles.sub_(self.mean) @ from_int8(self.analysis, self.analysis_scales).T)[:, None]

    def _tiles(self, vectors: Tensor) -> Tensor:
        """Components (B, 1, num_components) to tiles of latents (B, C, h, w)."""
        flat = torch.addmm(self.mean.float(), vectors[:, 0], from_int8(self.synthesis, self.synthesis_scales).T)
        return rearrange(flat, "b (c h w) -> b c h w", h=self.cells[0], w=self.cells[1])
