"""The one-stage TiTok with a continuous bottleneck (arXiv 2406.07550): a string of latents, a Gaussian each."""

from typing import Self

from pydantic import Field
from torch import Tensor

from vtok.models.decoders import Decoded, DecodeOptions
from vtok.models.decoders.vit_pixels import VitPixelDecoder
from vtok.models.latent_token_encoder import LatentTokenEncoder, TokenHead
from vtok.models.transformer import init_transformer
from vtok.tokenizers.latents import LOGVAR_RANGE, LatentTokenizer
from vtok.tokenizers.spec import LatentSpec
from vtok.tokenizers.titok import TINY_VIT, VitPairConfig, scattered


class TitokVaeConfig(VitPairConfig):
    """A TiTok VAE.

    Args:
        num_tokens: latents of a picture.
        dim: numbers of a latent.
    """

    num_tokens: int = Field(ge=1, le=4096)
    dim: int = Field(16, ge=1, le=4096)


class VitLatentTokenizer(LatentTokenizer):
    """A transformer with latent tokens, means and variances, and a decoder of strings."""

    def __init__(self, config: TitokVaeConfig, decoder: VitPixelDecoder):
        super().__init__()
        self.config = config
        head = TokenHead(config.encoder.dim, 2 * config.dim)
        self.encoder = LatentTokenEncoder(config.encoder, config.image_size, config.num_tokens, head)
        self.decoder = decoder
        size = (config.image_size, config.image_size)
        self.spec = LatentSpec(config.num_tokens, config.dim, None, size, 1, (config.num_tokens,))

    def after_load(self) -> None:
        """All runs in float32."""
        self.float()

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether the blocks of the transformers are computed again in the backward pass, which saves memory."""
        self.encoder.transformer.checkpointing = self.decoder.trunk.transformer.checkpointing = on

    def gaussians(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = self.encoder(images.to(self.encoder.positions.dtype)).float().chunk(2, 2)
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:
        decoded: Decoded = self.decoder(vectors, lengths, options)
        return decoded


class TitokVae(VitLatentTokenizer):
    """The one-stage TiTok VAE."""

    family = "titok_vae"
    Config = TitokVaeConfig

    def __init__(self, config: TitokVaeConfig):
        super().__init__(config, VitPixelDecoder(config.decoder, config.image_size, config.num_tokens, config.dim))
        init_transformer([self.encoder, self.decoder])

    @classmethod
    def tiny(cls) -> Self:
        """6 latents of 5 numbers for 32 pixels a side; seeded random weights."""
        return scattered(cls(TitokVaeConfig(image_size=32, encoder=TINY_VIT, decoder=TINY_VIT, num_tokens=6, dim=5)))
