"""Pictures by way of another tokenizer's codes: a transformer names them, that tokenizer's decoder paints them (TiTok's two stages)."""

from einops import rearrange
from torch import Tensor, nn

from vtok.models.decoders.base import Decoded, DecodeOptions, Decoder
from vtok.models.decoders.mask_tokens import MaskTokenTransformer
from vtok.models.latent_token_encoder import VitConfig
from vtok.models.linear import Linear
from vtok.models.maskgit_vqgan import MaskgitConfig, MaskgitDecoder
from vtok.models.quantizers.vq import VectorQuantizer


class SoftProxyDecoder(Decoder):
    """Mixes the codes of each cell by their probabilities; gradients reach everything (the second stage).

    The features of what it returns have "logits" (B, K, h, w), one for each code of the other tokenizer.

    Args:
        config: sizes of the transformer.
        image_size: side in pixels.
        num_tokens: at full length.
        dim: of a vector.
        pixels: the other tokenizer's sizes.
    """

    needs_grid = False

    def __init__(self, config: VitConfig, image_size: int, num_tokens: int, dim: int, pixels: MaskgitConfig):
        super().__init__()
        self.trunk = MaskTokenTransformer(config, image_size, num_tokens, dim)
        self.head = nn.Sequential(Linear(config.dim, 2 * config.dim), nn.Tanh(), Linear(2 * config.dim, pixels.codebook_size))
        self.pixel_quantizer = VectorQuantizer(pixels.latent_dim, pixels.codebook_size)
        self.pixel_decoder = MaskgitDecoder(pixels)

    def forward(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:  # noqa: ARG002 - it has none
        logits = self.logits(vectors, lengths)
        maps = rearrange(self.pixel_vectors(logits), "b (h w) d -> b d h w", h=self.trunk.side)
        return Decoded(self.pixel_decoder(maps), {"logits": rearrange(logits, "b (h w) k -> b k h w", h=self.trunk.side)})

    def logits(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Vectors (B, N, D) of strings cut to `lengths` (B,) to logits (B, h * w, K)."""
        logits: Tensor = self.head(self.trunk(vectors, lengths))
        return logits

    def pixel_vectors(self, logits: Tensor) -> Tensor:
        """Logits (B, h * w, K) to what the pixel decoder takes, (B, h * w, latent_dim)."""
        return self.pixel_quantizer.mix(logits.softmax(-1))


class HardProxyDecoder(SoftProxyDecoder):
    """Takes the most probable code of each cell (the first stage)."""

    def pixel_vectors(self, logits: Tensor) -> Tensor:
        return self.pixel_quantizer.lookup(logits.argmax(-1, keepdim=True))
