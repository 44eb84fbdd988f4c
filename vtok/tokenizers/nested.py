"""`nested`: a transformer encoder with registers, a quantizer, a transformer decoder over mask tokens; any prefix decodes.

A frozen autoencoder turns the whole picture into a map of latents; with `pixels` the picture itself is the map. Each tile of the map has
`num_registers` latent tokens beside its patches. What the encoder's registers say becomes the vectors that are quantised; the decoder
reads the quantised vectors back as registers, and mask tokens in the place of the patches become the map. The autoencoder's decoder,
which makes the picture, is part of the model and trained with it.

With a linear part the model starts as the `linear` coder: the components of a tile are added to what the registers say, the mask tokens
correct the linear reconstruction, and both heads start at zero. The transformers add what linear coding cannot.

A prefix reaches the decoder by one of two conventions, in training and use alike: "fill" puts a learned vector in the place of what the
missing tokens would say (FlexTok, arXiv 2502.13967), "truncate" hides it (One-D-Piece, arXiv 2501.10064).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, Self

import torch
from einops import rearrange
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import pad

from vtok.errors import ConfigError, WeightsError
from vtok.models.autoencoders import Autoencoder, AutoencoderConfig, build
from vtok.models.autoencoders.pixels import Pixels
from vtok.models.decoders import Decoded
from vtok.models.int8 import Int8, compact, from_int8
from vtok.models.linear_coder import LinearCoder
from vtok.models.quantizers import Quantized, Quantizer
from vtok.models.quantizers.config import FsqConfig, GroupedConfig, QuantizerConfig, scales_of
from vtok.models.quantizers.config import build as build_quantizer
from vtok.models.quantizers.grouped import GroupedQuantizer
from vtok.models.quantizers.grouped_trained import TrainedGroupedQuantizer
from vtok.models.tile_decoder import TileDecoder, TileGrid
from vtok.models.tile_encoder import TileEncoder
from vtok.models.tile_patches import TileLayout
from vtok.models.transformer import TransformerConfig
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.spec import TokenSpec
from vtok.tokenizers.tiles import cut_tiles, stitch_tiles
from vtok.tokenizers.whole_picture import WholePictureTokenizer

MAX_NUMBERS = 2**30  # a configuration comes from a file: what it asks for is bounded before it is made


class NestedSizes(BaseModel):
    """What a linear start does not decide of a `nested` tokenizer.

    Args:
        patch_size: side of a patch in cells of the map, which are latents, or pixels with `pixels`.
        num_registers: latent tokens of a tile in both transformers.
        encoder, decoder: their sizes.
        neighbours: patches see beyond their tile, a tile further with each block.
        tail: what stands for the tokens that a prefix lacks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    patch_size: int = Field(1, ge=1, le=1024)
    num_registers: int = Field(16, ge=1, le=4096)
    encoder: TransformerConfig = TransformerConfig(depth=3)
    decoder: TransformerConfig = TransformerConfig()
    neighbours: bool = True
    tail: Literal["fill", "truncate"] = "fill"


class NestedConfig(NestedSizes):
    """A `nested` tokenizer.

    Args:
        autoencoder: what makes the map.
        tile_size: side of a tile in pixels.
        quantizer: what makes tokens of vectors.
        linear: the model has a linear part, as many components as the vectors have numbers.
    """

    autoencoder: AutoencoderConfig
    tile_size: int = Field(64, ge=4, le=1024)
    quantizer: QuantizerConfig
    linear: bool = True


class NestedTokenizer(WholePictureTokenizer):
    """Nested strings for square tiles; large pictures are encoded and decoded as a whole, only the tokens are tile by tile.

    Raises:
        ConfigError: a tile that is not a whole number of patches or latents, or sizes without measure.
    """

    family = "nested"
    Config = NestedConfig

    component_scales: Tensor  # (numbers of a tile,) what is usual for each number of the vectors
    first_positions: Tensor  # (numbers of a tile,) the first token that speaks of it

    def __init__(self, config: NestedConfig):
        super().__init__()
        self.config = config
        self.autoencoder: Autoencoder = build(config.autoencoder)
        self.codes_pixels = isinstance(self.autoencoder, Pixels)
        self.cells = _whole(config.tile_size, self.autoencoder.downsample, "latents")
        self.quantizer: Quantizer = build_quantizer(config.quantizer)
        self.tables_of_components = isinstance(config.quantizer, GroupedConfig)
        num_latents = config.quantizer.num_latents
        numbers = num_latents * self.quantizer.dim
        layout = tile_layout(self.autoencoder, config.tile_size, config.patch_size)
        _check_size(config, layout, numbers, self.autoencoder.channels * self.cells**2)
        self.linear = LinearCoder(numbers, self.autoencoder.channels * self.cells**2) if config.linear else None
        self.encoder = TileEncoder(config.encoder, layout, config.num_registers, numbers, neighbours=config.neighbours)
        num_tokens = self.quantizer.num_positions(num_latents)
        self.decoder = TileDecoder(
            config.decoder,
            layout,
            config.num_registers,
            numbers,
            max_tokens=num_tokens,
            corrects=config.linear,
            hides_tail=config.tail == "truncate",
            neighbours=config.neighbours,
        )
        self.fill = nn.Parameter(torch.zeros(numbers)) if config.tail == "fill" else None
        self.register_buffer("component_scales", torch.ones(numbers))
        self.register_buffer("first_positions", self.quantizer.first_positions(num_latents), persistent=False)
        size = (config.tile_size, config.tile_size)
        lengths, scales = self.quantizer.prefix_lengths(num_latents), scales_of(config.quantizer)
        self.spec = TokenSpec(self.quantizer.codebook_sizes, num_tokens, lengths, size, size, scales=scales)

    @classmethod
    def tiny(cls) -> Self:
        """8 tokens of 16 codes on 16-pixel tiles of plain pixels, on top of the tiny `linear`; seeded random weights."""
        start = LinearTokenizer.tiny()
        sizes = TransformerConfig(dim=8, depth=2, heads=2)
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            model = cls.start_from(start, patch_size=4, num_registers=4, encoder=sizes, decoder=sizes)
            for head in (model.encoder.head, model.decoder.head.weight):
                nn.init.normal_(head, std=0.05)
        model.round_as_stored()
        return model.eval()

    @classmethod
    def start_from(cls, start: LinearTokenizer, **sizes: object) -> Self:
        """A model that codes and decodes as `start` does, with random transformers whose heads are zero.

        Args:
            sizes: fields of `NestedSizes`.
        """
        quantizer = GroupedConfig(dim=start.config.num_components, codebook_size=start.config.codebook_size, widths=start.config.widths)
        known = {"autoencoder": start.config.autoencoder, "tile_size": start.config.tile_size, "quantizer": quantizer}
        model = cls(NestedConfig.model_validate({**sizes, **known, "linear": True}))
        model.take_linear(start)
        return model

    @torch.no_grad()
    def take_linear(self, start: LinearTokenizer) -> None:
        """Take over a `linear` tokenizer of the same sizes, with which this one then agrees until it is trained."""
        if self.linear is None or not isinstance(self.quantizer, TrainedGroupedQuantizer):
            raise ValueError("a linear start needs the linear part and the quantizer `grouped`")
        self.autoencoder.load_state_dict(start.autoencoder.state_dict())
        analysis, synthesis = from_int8(start.analysis, start.analysis_scales), from_int8(start.synthesis, start.synthesis_scales)
        self.quantizer.components.copy_(start.quantizer.components)
        positions = list(start.quantizer.positions())
        self.quantizer.fill([table for _, table in positions])
        variances = torch.zeros_like(self.component_scales)
        for components, table in positions:
            variances.index_add_(0, components, table.square().mean(0))
        self.take_components(start.mean, analysis, synthesis, variances.sqrt())

    @torch.no_grad()
    def take_components(self, mean: Tensor, analysis: Tensor, synthesis: Tensor, deviations: Tensor) -> None:
        """Take over a linear coding of tiles, with which this one then agrees, but for the quantizer, until it is trained.

        Args:
            mean: (C * cells^2,) of a tile of the map.
            analysis, synthesis: of as many components as the vectors have numbers, in their order: those of the first vector first.
            deviations: of each component.
        """
        if self.linear is None:
            raise ValueError("components need the linear part")
        self.linear.mean.copy_(mean)
        self.linear.analysis.copy_(analysis)
        self.linear.synthesis.copy_(synthesis)
        self.component_scales.copy_(deviations.clamp(min=1e-6))
        for head in (self.encoder.head, self.decoder.head.weight, self.decoder.head.bias):
            nn.init.zeros_(head)
        self.after_load()

    def code_state(self) -> Mapping[str, Tensor]:
        """Codes, and the way from them to latents or, without a linear part, into the decoder, as they are stored."""
        way = ("linear.mean", "linear.synthesis") if self.config.linear else ("decoder.registers_in",)
        names = [name for name in self.state_dict() if name.startswith("quantizer.") or name in way]
        stored = self.stored_state()
        return {name: _read_back(stored[name]) for name in names}

    def stored_state(self) -> dict[str, Tensor | Int8]:
        """Matrices as bytes, the rest in half precision."""
        return {name: _stored(name, value) for name, value in self.state_dict().items()}

    @torch.no_grad()
    def round_as_stored(self) -> None:
        """Change all values to what a saved model has when it is loaded."""
        for name, value in self.state_dict().items():
            value.copy_(_read_back(_stored(name, value)))

    def after_load(self) -> None:
        """All runs in float32.

        Raises:
            WeightsError: components that the vector does not have, scales of 0, or levels that `config.json` does not have.
        """
        if isinstance(self.quantizer, GroupedQuantizer):
            self.quantizer.check_components()
        self.float()
        if float(self.component_scales.min()) <= 0:
            raise WeightsError("damaged weights: component_scales must be above 0")
        quantizer = self.config.quantizer
        if isinstance(quantizer, FsqConfig) and tuple(self.quantizer.get_buffer("levels").tolist()) != quantizer.levels:
            raise WeightsError(f"damaged weights: quantizer.levels must be those of config.json, {quantizer.levels}")
        self.first_positions = self.quantizer.first_positions(self.config.quantizer.num_latents)
        self.autoencoder.to(memory_format=torch.channels_last)  # convolutions on a processor are a quarter faster so

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether the blocks of the transformers are computed again in the backward pass, which saves memory."""
        self.encoder.transformer.checkpointing = self.decoder.transformer.checkpointing = on

    def map_of(self, images: Tensor) -> Tensor:
        """Images (B, 3, rows * h, cols * w) in [0, 1] to the map that is coded: latents, or the images themselves."""
        return images.float() if self.codes_pixels else self.autoencoder.encode(images.float())

    def latents_of(self, maps: Tensor) -> Tensor:
        """A map (B, C, rows * tile, cols * tile) to latents (B * rows * cols, N, D) before quantisation, row by row."""
        numbers = self.encoder(_centred(maps) if self.codes_pixels else maps).flatten(0, 2) * self.component_scales
        if self.linear is not None:
            latents = self.autoencoder.encode(maps) if self.codes_pixels else maps
            numbers = numbers + self.linear(cut_tiles(latents, (self.cells, self.cells)).flatten(1))
        return numbers.unflatten(1, (self.config.quantizer.num_latents, -1))

    def latents(self, images: Tensor) -> Tensor:
        return self.latents_of(self.map_of(images))

    def lookup(self, ids: Tensor, lengths: Tensor) -> Tensor:
        vectors = self.from_units(self.quantizer.lookup(ids, lengths))
        vectors = pad(vectors, (0, 0, 0, self.config.quantizer.num_latents - vectors.shape[1]))  # ids may be of prefixes
        if self.fill is None:
            return vectors
        return vectors + torch.where(self.covered(lengths), 0.0, self.fill).view_as(vectors)

    def quantize(self, latents: Tensor) -> Quantized:
        quantized: Quantized = self.quantizer(self.in_units(latents))
        return replace(quantized, vectors=self.from_units(quantized.vectors))

    def in_units(self, latents: Tensor) -> Tensor:
        """Latents (B, N, D) as the quantizer takes them: what is usual for each number is 1, but for the tables of a linear start, which
        are in the components' own units.
        """
        return latents if self.tables_of_components else latents / self._scales(latents.shape[1])

    def from_units(self, vectors: Tensor) -> Tensor:
        """The inverse of `in_units`."""
        return vectors if self.tables_of_components else vectors * self._scales(vectors.shape[1])

    def _scales(self, num_latents: int) -> Tensor:
        return self.component_scales.view(self.config.quantizer.num_latents, -1)[:num_latents]

    def covered(self, lengths: Tensor) -> Tensor:
        """(B, N * D) bool: which numbers of the vectors the first `lengths` (B,) tokens speak of."""
        return self.first_positions < lengths[:, None]

    def decode_map(self, vectors: Tensor, lengths: Tensor, rows: int, cols: int) -> Decoded:
        """Vectors (B * rows * cols, N, D) of strings cut to `lengths` to pictures (B, 3, rows * h, cols * w).

        The features are the first block's outputs, see `TileDecoder`.
        """
        flat = vectors.flatten(1)
        grid = TileGrid(
            (flat / self.component_scales).unflatten(0, (-1, rows, cols)),
            self.covered(lengths).unflatten(0, (-1, rows, cols)),
            lengths.unflatten(0, (-1, rows, cols)),
            self._draft(flat, rows, cols),
        )
        maps, features = self.decoder(grid)
        del grid  # for a large picture the autoencoder needs the room
        pictures = _shown(maps) if self.codes_pixels else self.autoencoder.decode(maps)
        return Decoded(pictures, features)

    def _draft(self, numbers: Tensor, rows: int, cols: int) -> Tensor | None:
        """The map that the linear part alone would make."""
        if self.linear is None:
            return None
        tiles = rearrange(self.linear.inverse(numbers), "b (c h w) -> b c h w", h=self.cells, w=self.cells)
        latents = stitch_tiles(tiles, rows, cols)
        return _centred(self.autoencoder.decode(latents)) if self.codes_pixels else latents

    @torch.no_grad()
    def encode_grid_with_errors(self, images: Tensor, *, overlap: int = 0) -> tuple[Tokens, Tensor]:
        if self.tables_of_components:
            return super().encode_grid_with_errors(images, overlap=overlap)
        self._check_grid(images, overlap)
        ids = self.quantize(self.latents(images)).ids
        known = [self.from_units(self.quantizer.lookup(ids, ids.new_full((len(ids),), n))) for n in (0, *self.spec.prefix_lengths)]
        return Tokens.full(ids, self.spec), torch.stack([(known[-1] - own).square().sum((1, 2)) for own in known], 1)

    @torch.no_grad()
    def encode_grid(self, images: Tensor, num_tokens: int | None = None, *, overlap: int = 0) -> Tokens:
        self._check_grid(images, overlap)
        tokens = Tokens.full(self.quantize(self.latents(images)).ids, self.spec)
        return tokens if num_tokens is None else tokens.prefix(num_tokens)


def tile_layout(autoencoder: Autoencoder, tile_size: int, patch_size: int) -> TileLayout:
    """How a tile of the autoencoder's map, with `Pixels` of the pixels themselves, is made of patches.

    Args:
        tile_size: in pixels.
        patch_size: in cells of the map.

    Raises:
        ConfigError: a tile that is not a whole number of patches.
    """
    step, channels = (1, 3) if isinstance(autoencoder, Pixels) else (autoencoder.downsample, autoencoder.channels)
    return TileLayout(channels, _whole(tile_size, step * patch_size, "patches"), patch_size)


def _check_size(config: NestedConfig, layout: TileLayout, numbers: int, latents: int) -> None:
    """Look at what matrices of a tile with so many numbers and latents would take."""
    beside_blocks = numbers + config.num_registers + layout.num_patches + 2 * layout.patch_dim
    size = sum(own.dim * (12 * own.depth * own.dim + beside_blocks) for own in (config.encoder, config.decoder))
    size += 2 * numbers * latents if config.linear else 0
    if size > MAX_NUMBERS:
        raise ConfigError(f"the model would have {size:,} numbers, at most {MAX_NUMBERS:,} are allowed; make it smaller")


def _centred(images: Tensor) -> Tensor:
    """Pixels in [0, 1] on a scale that suits a network."""
    return 4 * (images - 0.5)


def _shown(centred: Tensor) -> Tensor:
    return centred / 4 + 0.5


def _stored(name: str, value: Tensor) -> Tensor | Int8:
    if name == "linear.synthesis" or (name.startswith("quantizer.") and name.endswith("codes") and value.ndim > 1):
        return compact(value, (value.ndim - 2,))  # a scale for each component
    return compact(value)


def _read_back(stored: Tensor | Int8) -> Tensor:
    if isinstance(stored, Int8):
        return stored.rounded()
    return stored.float() if stored.is_floating_point() else stored


def _whole(size: int, part: int, what: str) -> int:
    number, rest = divmod(size, part)
    if rest:
        raise ConfigError(f"tile_size {size} is not a whole number of {what} of {part} pixels")
    return number
