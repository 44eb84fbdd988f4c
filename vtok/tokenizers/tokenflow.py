"""TokenFlow (arXiv 2412.03069): tokens that say at once what is to be seen and how it looks, in maps of rising size.

Two encoders make a vector for each place: a tower that was trained on pictures and texts its semantic part, convolutions the part of the
pixels. Both parts are coded by one id. Each scale codes what the earlier ones have left, so that a string may be cut after any scale.
Convolutions make the picture of the part of the pixels; a transformer that only training needs tells the tower's features of the other.
"""

from typing import Annotated, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn.functional import interpolate

from vtok.errors import ConfigError
from vtok.models.conv import ConvConfig, ConvDecoder, ConvEncoder, LatentHead
from vtok.models.decoders import Decoded, DecodeOptions
from vtok.models.quantizers.config import AnyTokenwise, MultiscaleConfig, StagewiseMultiscaleConfig, build, scales_of
from vtok.models.quantizers.maps import as_latents, as_map
from vtok.models.quantizers.part_config import SharedIndexPart
from vtok.models.semantic_decoder import SemanticDecoder, SemanticDecoderConfig, two_layers
from vtok.models.towers import ClipConfig, TowerConfig
from vtok.models.towers import build as build_tower
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.llamagen_vq import begin_codes
from vtok.tokenizers.prefix_errors import mean_colour_errors, squared_errors
from vtok.tokenizers.raster import MAX_SIDE
from vtok.tokenizers.spec import TokenSpec
from vtok.tokenizers.tiles import cut_tiles, runs
from vtok.tokenizers.titok import scattered
from vtok.tokenizers.vq_tokenizer import VqTokenizer

SCALES = {  # rows, and as many columns, of each scale of the published models, by the rows of the last
    14: (1, 2, 4, 6, 8, 10, 12, 14),
    16: (1, 2, 4, 6, 8, 10, 12, 14, 16),
    27: (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 22, 27),
}
PUBLISHED = SharedIndexPart(widths=(32, 8), codebook_size=32768)


def square_scales(sides: tuple[int, ...], part: SharedIndexPart = PUBLISHED) -> StagewiseMultiscaleConfig:
    """Square maps of so many rows, the first ones first."""
    return StagewiseMultiscaleConfig(scales=tuple((side, side) for side in sides), part=part)


class TokenflowConfig(BaseModel):
    """A TokenFlow; as left out that with CLIP's ViT-B/16.

    Args:
        image_size: side in pixels.
        semantic_encoder: the tower.
        semantic_dim: numbers of a vector that are its semantic part, the first ones; those of the others, the pixels' part, follow.
        semantic_decoder: sizes.
        encoder, decoder: of the pixels; where their size is not the image's, images and pictures are resized.
        quantizer: what makes tokens of the map of vectors: scales, or one token for each place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    image_size: int = Field(224, ge=1, le=MAX_SIDE)
    semantic_encoder: TowerConfig = ClipConfig()
    semantic_dim: int = Field(32, ge=1, le=4096)
    semantic_decoder: SemanticDecoderConfig = SemanticDecoderConfig()
    encoder: ConvConfig = ConvConfig()
    decoder: ConvConfig = ConvConfig()
    quantizer: Annotated[AnyTokenwise | MultiscaleConfig | StagewiseMultiscaleConfig, Field(discriminator="kind")] = square_scales(
        SCALES[14]
    )

    @property
    def side(self) -> int:
        """Rows and columns of the map."""
        return self.image_size // self.semantic_encoder.patch_size

    @model_validator(mode="after")
    def _the_map_is_coded(self) -> Self:
        scales = scales_of(self.quantizer)
        coded = scales[-1] if scales else self.quantizer.num_latents
        if coded not in ((self.side, self.side), self.side**2):
            found = f"{coded[0]} x {coded[1]}" if isinstance(coded, tuple) else f"a map of {coded} vectors"
            raise ValueError(f"the tower makes a map of {self.side} x {self.side} of a picture, the quantizer codes {found}")
        table = getattr(self.quantizer, "part", self.quantizer)
        if isinstance(table, SharedIndexPart) and table.widths[0] != self.semantic_dim:
            raise ValueError(f"semantic_dim is {self.semantic_dim}, the quantizer's first part has {table.widths[0]} numbers")
        return self


class TokenflowTokenizer(VqTokenizer):
    """Strings of whole scales; each picture is seen alone.

    Raises:
        ConfigError: pictures that are no whole number of patches, or vectors without a part of the pixels.
        MissingExtraError: a library that the tower needs is not installed.
    """

    family = "tokenflow"
    Config = TokenflowConfig
    errors_of_decodes = True

    def __init__(self, config: TokenflowConfig):
        super().__init__()
        self.config = config
        semantic_dim, image_size = config.semantic_dim, config.image_size
        self.quantizer = build(config.quantizer)
        begin_codes(self.quantizer)
        if (pixel_dim := self.quantizer.dim - semantic_dim) < 1:
            raise ConfigError(f"vectors have {self.quantizer.dim} numbers, semantic_dim = {semantic_dim} leaves none for the pixels")
        self.semantic_encoder = build_tower(config.semantic_encoder, image_size)
        self.semantic_head = two_layers(self.semantic_encoder.dim, semantic_dim)
        self.encoder = ConvEncoder(config.encoder)
        self.head = LatentHead(config.encoder, pixel_dim)
        self.decoder = ConvDecoder(config.decoder, pixel_dim)
        self.semantic_decoder = SemanticDecoder(config.semantic_decoder, semantic_dim)
        self.spec = self._spec()

    def _spec(self) -> TokenSpec:
        config, side, size = self.config, self.config.side, (self.config.image_size, self.config.image_size)
        num_tokens, scales = self.quantizer.num_positions(side**2), scales_of(config.quantizer)
        lengths = self.quantizer.prefix_lengths(side**2) if scales else (num_tokens,)
        grid = None if scales else (side, side)
        return TokenSpec(self.quantizer.codebook_sizes, num_tokens, lengths, size, size, grid, scales)

    @classmethod
    def tiny(cls) -> Self:
        """Scales of 1, 2 and 4 rows, 21 tokens of 16 codes, for 16 pixels a side; seeded random weights."""
        pixels = ConvConfig(dim=32, multiples=(1, 2, 1), num_blocks=1, z_dim=16)
        config = TokenflowConfig(
            image_size=16,
            semantic_encoder=ClipConfig(dim=24, depth=1, heads=2, patch_size=4, side=4),
            semantic_dim=6,
            semantic_decoder=SemanticDecoderConfig(dim=24, depth=1, side=4, out_dim=8),
            encoder=pixels,
            decoder=pixels,
            quantizer=square_scales((1, 2, 4), SharedIndexPart(widths=(6, 4), codebook_size=16)),
        )
        return scattered(cls(config))

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether blocks of convolutions and of transformers are computed again in the backward pass, which saves memory."""
        self.encoder.checkpointing = self.decoder.checkpointing = self.semantic_decoder.transformer.checkpointing = on
        self.semantic_encoder.set_gradient_checkpointing(on)

    def latents(self, images: Tensor) -> Tensor:
        images = images.to(self.encoder.conv_in.weight.dtype)
        semantic = self.semantic_head(self.semantic_encoder(images))
        pixels = self.head(self.encoder(_resized(2 * images - 1, self.config.side * self.config.encoder.downsample)))
        return torch.cat([semantic, as_latents(pixels)], 2)

    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:  # noqa: ARG002 - there are none
        pixels = vectors[..., self.config.semantic_dim :].contiguous()  # so that channels lie side by side in the map
        pictures = self.decoder(as_map(pixels, (self.config.side, self.config.side)))
        return Decoded((_resized(pictures, self.config.image_size) + 1) / 2)

    def semantics(self, vectors: Tensor) -> Tensor:
        """Features (B, N, out_dim) of each place of a map, as they are told of vectors (B, N, D); training alone needs them."""
        features: Tensor = self.semantic_decoder(vectors[..., : self.config.semantic_dim])
        return features

    @torch.no_grad()
    def semantic_features(self, tokens: Tokens) -> Tensor:
        """What understanding uses of strings: vectors (B, side^2, D) float32 of the places of their maps, row by row, both parts.

        Raises:
            ValueError: tokens of another spec, or ids that the codebook does not have.
        """
        self._check_decode(tokens, DecodeOptions())
        return self.lookup(tokens.ids, tokens.lengths)

    @torch.no_grad()
    def encode_grid_with_errors(self, images: Tensor, *, overlap: int = 0) -> tuple[Tokens, Tensor]:
        """`encode_grid`, and the squared error in the pixels of each whole number of scales; no token counts as the mean colour.

        Vectors add up to directions and not to the latents, whose distance says nothing.
        """
        tokens = self.encode_grid(images, overlap=overlap)
        tiles = cut_tiles(images, self.spec.input_size, overlap).float()
        errors = [
            [squared_errors(tiles[part], self.decode(tokens[part].prefix(length))) for part in runs(len(tiles), self.spec.input_size)]
            for length in self.spec.prefix_lengths
        ]
        return tokens, torch.stack([mean_colour_errors(tiles), *(torch.cat(own) for own in errors)], 1)


def _resized(maps: Tensor, side: int) -> Tensor:
    """Maps (B, C, H, W) to so many rows and columns, bicubic, without smoothing."""
    return maps if maps.shape[2] == side else interpolate(maps, (side, side), mode="bicubic", align_corners=False)
