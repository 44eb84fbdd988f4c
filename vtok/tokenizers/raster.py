"""What tokenizers share that have a token for each square of pixels, row by row; all of them are needed."""

from abc import abstractmethod

import torch
from einops import rearrange
from torch import Tensor

from vtok.errors import ConfigError, UnsupportedError
from vtok.models.decoders import Decoded, DecodeOptions
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.spec import TokenSpec
from vtok.tokenizers.vq_tokenizer import VqTokenizer

MAX_SIDE = 4096  # pixels of a picture that is encoded at once


class RasterTokenizer(VqTokenizer):
    """A raster of one size. A family fills in `encode_map`, `decode_map` and `tiny`, and calls `set_raster` when its quantizer is there."""

    step: int  # pixels along a side of a token's square

    @abstractmethod
    def encode_map(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to a map of latents (B, D, h, w)."""

    @abstractmethod
    def decode_map(self, vectors: Tensor) -> Tensor:
        """A map of vectors (B, D, h, w) to pictures (B, 3, H, W), not clamped to [0, 1]."""

    def set_raster(self, step: int, image_size: int) -> None:
        """State the sides of a token's square and of a tile, in pixels.

        Raises:
            ConfigError: a tile that is not a whole number of squares.
        """
        if image_size % step:
            raise ConfigError(f"image_size {image_size} is not a multiple of the {step} pixels of a token")
        self.step = step
        self.spec = self.raster(image_size, image_size)

    def raster(self, height: int, width: int) -> TokenSpec:
        """The spec of pictures of a size in whole squares."""
        rows, cols = height // self.step, width // self.step
        num_tokens = rows * cols
        return TokenSpec(self.quantizer.codebook_sizes, num_tokens, (num_tokens,), (height, width), (height, width), (rows, cols))

    def latents(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to latents (B, h * w, D), row by row."""
        return rearrange(self.encode_map(images), "b d h w -> b (h w) d")

    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:  # noqa: ARG002 - there are none
        return self.paint(vectors, self.spec)

    def paint(self, vectors: Tensor, spec: TokenSpec) -> Decoded:
        """Vectors (B, h * w, D) of whole strings to pictures."""
        rows, cols = (side // self.step for side in spec.input_size)
        return Decoded(self.decode_map(rearrange(vectors, "b (h w) d -> b d h w", h=rows, w=cols)))


class AnySizeRaster(RasterTokenizer):
    """Convolutional all through: a picture of any size in whole squares has a raster of its own."""

    def spec_for(self, height: int, width: int) -> TokenSpec:
        """The spec of a picture that is encoded at once.

        Raises:
            UnsupportedError: sides that are not multiples of a token's square, or beyond 4,096 pixels.
        """
        if height % self.step or width % self.step or not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            side = self.spec.input_size[0]
            raise UnsupportedError(
                f"{self.family} takes multiples of {self.step} pixels up to {MAX_SIDE}, {side} x {side} as a tile, not {height} x {width}"
            )
        return self.raster(height, width)

    @torch.no_grad()
    def decode(self, tokens: Tokens, options: DecodeOptions = DecodeOptions()) -> Tensor:  # noqa: B008 - frozen
        spec = self.spec_for(*tokens.spec.input_size)
        self._check_decode(tokens, options, spec)
        return self.paint(self.lookup(tokens.ids, tokens.lengths), spec).pictures.clamp(0, 1)
