"""Pixels from a string and a text (TA-TiTok, arXiv 2501.07730)."""

import torch
from torch import Tensor, nn

from vtok.models.decoders.base import Decoded, DecodeOptions
from vtok.models.decoders.vit_pixels import VitPixelDecoder
from vtok.models.latent_token_encoder import VitConfig
from vtok.models.linear import Linear


class TextVitPixelDecoder(VitPixelDecoder):
    """A string and embeddings of a text's tokens to pixels; the transformer looks at both.

    Args:
        config, image_size, num_tokens, dim: as of `VitPixelDecoder`.
        text_length: tokens of a text, with those that fill it up.
        text_dim: of their embeddings.
    """

    def __init__(self, config: VitConfig, image_size: int, num_tokens: int, dim: int, *, text_length: int, text_dim: int):
        super().__init__(config, image_size, num_tokens, dim)
        self.text_embed = Linear(text_dim, config.dim)
        self.text_positions = nn.Parameter(config.dim**-0.5 * torch.randn(text_length, config.dim))

    def forward(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:
        """Decode with `options.text`, embeddings (B, text_length, text_dim); zeros stand for none."""
        text = options.text if isinstance(options.text, Tensor) else self.no_text(vectors)
        context = self.text_embed(text) + self.text_positions
        return Decoded(self.head(self.trunk(vectors, lengths, context), self.trunk.side))

    def no_text(self, vectors: Tensor) -> Tensor:
        return vectors.new_zeros(len(vectors), len(self.text_positions), self.text_embed.in_features)
