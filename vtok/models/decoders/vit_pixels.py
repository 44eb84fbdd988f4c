"""Pixels straight from a transformer's features (the one-stage TiTok)."""

from einops import rearrange
from torch import Tensor, nn

from vtok.models.decoders.base import Decoded, DecodeOptions, Decoder
from vtok.models.decoders.mask_tokens import MaskTokenTransformer
from vtok.models.latent_token_encoder import VitConfig
from vtok.models.linear import Linear


class PixelHead(nn.Module):
    """Each feature to a patch of pixels, then a 3x3 convolution over the whole picture.

    Numbers of a patch stand in the order row, column, colour.
    """

    def __init__(self, dim: int, patch_size: int):
        super().__init__()
        self.patch_size = patch_size
        self.patches = Linear(dim, 3 * patch_size**2)
        self.smooth = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, features: Tensor, side: int) -> Tensor:
        """Features (B, side * side, W) to pictures (B, 3, S, S)."""
        size = self.patch_size
        pixels = rearrange(self.patches(features), "b (h w) (y x c) -> b c (h y) (w x)", h=side, y=size, x=size)
        out: Tensor = self.smooth(pixels)
        return out


class VitPixelDecoder(Decoder):
    """A string to pixels.

    Args:
        config: sizes.
        image_size: side in pixels.
        num_tokens: at full length.
        dim: of a vector.
    """

    needs_grid = False

    def __init__(self, config: VitConfig, image_size: int, num_tokens: int, dim: int):
        super().__init__()
        self.trunk = MaskTokenTransformer(config, image_size, num_tokens, dim)
        self.head = PixelHead(config.dim, config.patch_size)

    def forward(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:  # noqa: ARG002 - it has none
        return Decoded(self.head(self.trunk(vectors, lengths), self.trunk.side))
