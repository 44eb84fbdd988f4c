"""TiTok (arXiv 2406.07550): a picture in a fixed number of tokens without places, by two vision transformers.

Three ways from tokens to pixels, a class each. The two-stage models name codes of a MaskGIT-VQGAN: while `ProxyTitok` is trained, the most
probable code of each cell is taken; `Titok` mixes the codes by their probabilities, and its decoder was trained on with pixels. The
one-stage `PixelTitok` makes pixels by itself.
"""

from collections.abc import Mapping
from typing import ClassVar, Self, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from vtok.models.decoders import Decoded, DecodeOptions
from vtok.models.decoders.proxy_codes import HardProxyDecoder, SoftProxyDecoder
from vtok.models.decoders.vit_pixels import VitPixelDecoder
from vtok.models.latent_token_encoder import LatentTokenEncoder, MixedTokenHead, TokenHead, VitConfig
from vtok.models.maskgit_vqgan import MAX_NUMBERS, MaskgitConfig
from vtok.models.quantizers import Quantizer
from vtok.models.quantizers.config import AnyTokenwise, VqByDefault, VqConfig, build
from vtok.models.transformer import init_transformer
from vtok.tokenizers.spec import TokenSpec
from vtok.tokenizers.vq_tokenizer import VqTokenizer

TINY_VIT = VitConfig(dim=16, depth=2, heads=2, patch_size=8)
TINY_PIXELS = MaskgitConfig(dim=32, multiples=(1, 1, 1, 1), num_blocks=1, latent_dim=4, codebook_size=16)

StringDecoder = SoftProxyDecoder | VitPixelDecoder
Model = TypeVar("Model", bound=nn.Module)


class VitPairConfig(BaseModel):
    """Sizes of what is left and right of the bottleneck.

    Args:
        image_size: side in pixels.
        encoder, decoder: the transformers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    image_size: int = Field(256, ge=4, le=4096)
    encoder: VitConfig
    decoder: VitConfig

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        for name, own in (("encoder", self.encoder), ("decoder", self.decoder)):
            if self.image_size % own.patch_size:
                raise ValueError(f"image_size {self.image_size} is not a multiple of the {name}'s patch_size {own.patch_size}")
            cells = (self.image_size // own.patch_size) ** 2
            if (size := own.dim * (12 * own.depth * own.dim + cells + 3 * own.patch_size**2)) > MAX_NUMBERS:
                raise ValueError(f"the {name} would have {size:,} numbers, at most {MAX_NUMBERS:,} are allowed")
        return self


class PixelTitokConfig(VitPairConfig):
    """A one-stage TiTok.

    Args:
        quantizer: what makes tokens of latents.
    """

    quantizer: VqByDefault


class TitokConfig(PixelTitokConfig):
    """A two-stage TiTok.

    Args:
        pixels: sizes of the MaskGIT-VQGAN whose codes and decoder it has.
    """

    pixels: MaskgitConfig = MaskgitConfig()

    @model_validator(mode="after")
    def _head_fits(self) -> Self:
        if (size := 2 * self.decoder.dim * self.pixels.codebook_size) > MAX_NUMBERS:
            raise ValueError(f"the decoder's head would have {size:,} numbers, at most {MAX_NUMBERS:,} are allowed")
        return self


class VitTokenizer(VqTokenizer):
    """A transformer with latent tokens, vector quantization, and a decoder of strings: what all families of this line share.

    A family makes the three parts and hands them on.
    """

    encoder: LatentTokenEncoder
    decoder: StringDecoder

    def __init__(self, encoder: LatentTokenEncoder, quantizer: Quantizer, decoder: StringDecoder, spec: TokenSpec):
        super().__init__()
        self.encoder = encoder
        self.quantizer = quantizer
        self.decoder = decoder
        self.spec = spec

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether the blocks of the transformers are computed again in the backward pass, which saves memory."""
        for transformer in (self.encoder.transformer, self.decoder.trunk.transformer):
            transformer.checkpointing = on

    def code_state(self) -> Mapping[str, Tensor]:
        """The quantizer and, where nothing of it is learned, what maps the encoder's tokens to it."""
        own = dict(super().code_state())
        if not any(True for _ in self.quantizer.parameters()):
            own |= {f"encoder.head.{name}": value for name, value in self.encoder.head.state_dict(keep_vars=True).items()}
        return own

    def latents(self, images: Tensor) -> Tensor:
        out: Tensor = self.encoder(images.to(self.encoder.latent_tokens.dtype))
        return out

    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:
        decoded: Decoded = self.decoder(vectors, lengths, options)
        return decoded


class PixelTitok(VitTokenizer):
    """The one-stage TiTok with vector quantization."""

    family = "titok_pixel"
    Config = PixelTitokConfig

    def __init__(self, config: PixelTitokConfig):
        num_tokens, side, quantizer = config.quantizer.num_tokens, config.image_size, tokenwise_quantizer(config.quantizer)
        encoder = LatentTokenEncoder(config.encoder, side, num_tokens, TokenHead(config.encoder.dim, quantizer.dim))
        decoder = VitPixelDecoder(config.decoder, side, num_tokens, quantizer.dim)
        init_transformer([encoder, decoder])
        spec = TokenSpec(quantizer.codebook_sizes, num_tokens, (num_tokens,), (side, side), (side, side))
        super().__init__(encoder, quantizer, decoder, spec)
        self.config = config

    @classmethod
    def tiny(cls) -> Self:
        """6 tokens of 32 codes for 32 pixels a side; seeded random weights."""
        quantizer = VqConfig(num_tokens=6, dim=5, codebook_size=32)
        return scattered(cls(PixelTitokConfig(image_size=32, encoder=TINY_VIT, decoder=TINY_VIT, quantizer=quantizer)))


class Titok(VitTokenizer):
    """The two-stage TiTok after its second stage."""

    family = "titok"
    Config = TitokConfig
    decoder: SoftProxyDecoder
    Decoder: ClassVar[type[SoftProxyDecoder]] = SoftProxyDecoder

    def __init__(self, config: TitokConfig):
        num_tokens, side, quantizer = config.quantizer.num_tokens, config.image_size, tokenwise_quantizer(config.quantizer)
        encoder = LatentTokenEncoder(config.encoder, side, num_tokens, MixedTokenHead(config.encoder.dim, quantizer.dim))
        decoder = self.Decoder(config.decoder, side, num_tokens, quantizer.dim, config.pixels)
        init_transformer([encoder, decoder.trunk, decoder.head])
        shown = side // config.decoder.patch_size * config.pixels.downsample
        spec = TokenSpec(quantizer.codebook_sizes, num_tokens, self._prefix_lengths(num_tokens), (side, side), (shown, shown))
        super().__init__(encoder, quantizer, decoder, spec)
        self.config = config

    def _prefix_lengths(self, num_tokens: int) -> tuple[int, ...]:
        return (num_tokens,)

    @classmethod
    def tiny(cls) -> Self:
        """6 tokens of 32 codes at the unit sphere for 32 pixels a side; seeded random weights."""
        quantizer = VqConfig(kind="spherical_vq", num_tokens=6, dim=5, codebook_size=32)
        config = TitokConfig(image_size=32, encoder=TINY_VIT, decoder=TINY_VIT, quantizer=quantizer, pixels=TINY_PIXELS)
        model = scattered(cls(config))
        with torch.no_grad():  # as sure of its codes as a trained model: else norms blow up what is rounded
            model.get_parameter("decoder.head.2.weight").mul_(10)
        return model


class ProxyTitok(Titok):
    """The two-stage TiTok in its first stage, beside the MaskGIT-VQGAN that it learns to predict."""

    family = "titok_proxy"
    Decoder = HardProxyDecoder


def tokenwise_quantizer(config: AnyTokenwise) -> Quantizer:
    """The quantizer of `config`, with the codes of tables of S in [-1 / S, 1 / S]."""
    quantizer = build(config)
    for table in quantizer.learned_tables():
        nn.init.uniform_(table.codes, -1 / table.codebook_sizes[0], 1 / table.codebook_sizes[0])
    return quantizer


@torch.no_grad()
def scattered(model: Model) -> Model:
    """Random weights, seeded, so large that different pictures get different strings, and biases of 0; in eval mode."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
        elif name.endswith("bias"):
            parameter.zero_()
    return model.eval()
