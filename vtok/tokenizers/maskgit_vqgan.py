"""MaskGIT-VQGAN (arXiv 2202.04200): a raster of tokens, one for each square of pixels; all of them are needed."""

from typing import Self

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor

from vtok.errors import ConfigError, UnsupportedError
from vtok.models.decoders import Decoded, DecodeOptions
from vtok.models.maskgit_vqgan import MaskgitConfig, MaskgitDecoder, MaskgitEncoder
from vtok.models.quantizers.vq import VectorQuantizer
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.spec import TokenSpec
from vtok.tokenizers.vq_tokenizer import VqTokenizer

MAX_SIDE = 4096  # pixels of a picture that is encoded at once


class MaskgitVqganConfig(MaskgitConfig):
    """A MaskGIT-VQGAN.

    Args:
        image_size: side in pixels of a tile, a multiple of `downsample`; pictures of other sizes may be encoded too.
    """

    image_size: int = Field(256, ge=1, le=MAX_SIDE)


class MaskgitVqgan(VqTokenizer):
    """Convolutional all through: a picture of any size in whole squares has a raster of its own.

    Raises:
        ConfigError: a tile that is not a whole number of squares.
    """

    family = "maskgit_vqgan"
    Config = MaskgitVqganConfig

    def __init__(self, config: MaskgitVqganConfig):
        super().__init__()
        self.config = config
        self.encoder = MaskgitEncoder(config)
        self.quantizer = VectorQuantizer(config.latent_dim, config.codebook_size)
        self.decoder = MaskgitDecoder(config)
        if config.image_size % config.downsample:
            raise ConfigError(f"image_size {config.image_size} is not a multiple of the {config.downsample} pixels of a token")
        self.spec = self._spec_of(config.image_size, config.image_size)

    @classmethod
    def tiny(cls) -> Self:
        """4 x 4 tokens of 16 codes for 16 pixels a side; seeded random weights."""
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            config = MaskgitVqganConfig(dim=32, multiples=(1, 2, 1), num_blocks=1, latent_dim=4, codebook_size=16, image_size=16)
            return cls(config).eval()

    def spec_for(self, height: int, width: int) -> TokenSpec:
        """The spec of a picture that is encoded at once.

        Raises:
            UnsupportedError: sides that are not multiples of a token's square, or beyond 4,096 pixels.
        """
        step = self.config.downsample
        if height % step or width % step or not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise UnsupportedError(
                f"{self.family} takes multiples of {step} pixels up to {MAX_SIDE}, {self.config.image_size} x {self.config.image_size} "
                f"as a tile, not {height} x {width}"
            )
        return self._spec_of(height, width)

    def latents(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to latents (B, h * w, D), row by row."""
        return rearrange(self.encoder(images.to(self.quantizer.codes.dtype)), "b d h w -> b (h w) d")

    @torch.no_grad()
    def soft_codes(self, images: Tensor, temperature: float = 1.0) -> Tensor:
        """Shares (B, h * w, S) of all codes in each square of images (B, 3, H, W) in [0, 1]: softmax(-squared distance / temperature)."""
        distances = torch.cdist(self.latents(images).float(), self.quantizer.codes.float()).square()
        return (-distances / temperature).softmax(-1)

    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:  # noqa: ARG002 - there are none
        return self._paint(vectors, self.spec)

    @torch.no_grad()
    def decode(self, tokens: Tokens, options: DecodeOptions = DecodeOptions()) -> Tensor:  # noqa: B008 - frozen
        spec = self.spec_for(*tokens.spec.input_size)
        self._check_decode(tokens, options, spec)
        vectors = self.lookup(tokens.ids, tokens.lengths)
        return self._paint(vectors, spec).pictures.clamp(0, 1)

    def _paint(self, vectors: Tensor, spec: TokenSpec) -> Decoded:
        rows, cols = (side // self.config.downsample for side in spec.input_size)
        return Decoded(self.decoder(rearrange(vectors, "b (h w) d -> b d h w", h=rows, w=cols)))

    def _spec_of(self, height: int, width: int) -> TokenSpec:
        rows, cols = height // self.config.downsample, width // self.config.downsample
        num_tokens = rows * cols
        return TokenSpec((self.config.codebook_size,), num_tokens, (num_tokens,), (height, width), (height, width), (rows, cols))
