"""TA-TiTok (arXiv 2501.07730): the one-stage TiTok whose decoder reads a caption beside the string, discrete and continuous.

A caption is text, which CLIP's text tower embeds, or embeddings that were made before; without one the decoder sees zeros, which it was
not trained with: pictures are worse then.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from vtok.errors import UnsupportedError
from vtok.models.decoders import Decoded, DecodeOptions
from vtok.models.decoders.text_vit_pixels import TextVitPixelDecoder
from vtok.models.latent_token_encoder import LatentTokenEncoder, TokenHead
from vtok.models.quantizers.config import VqConfig
from vtok.models.transformer import init_transformer
from vtok.tokenizers.clip_text import LENGTH, WIDTH, ClipText
from vtok.tokenizers.spec import TokenSpec
from vtok.tokenizers.titok import TINY_VIT, PixelTitokConfig, VitTokenizer, scattered, tokenwise_quantizer
from vtok.tokenizers.titok_vae import TitokVaeConfig, VitLatentTokenizer


class TextConfig(BaseModel):
    """Embeddings of a caption.

    Args:
        length: tokens, with those that fill it up.
        dim: numbers of an embedding.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    length: int = Field(LENGTH, ge=1, le=4096)
    dim: int = Field(WIDTH, ge=1, le=8192)


class TaTitokConfig(PixelTitokConfig):
    """A TA-TiTok with vector quantization.

    Args:
        text: of the decoder.
    """

    text: TextConfig = TextConfig()


class TaTitokVaeConfig(TitokVaeConfig):
    """A TA-TiTok VAE.

    Args:
        text: of the decoder.
    """

    text: TextConfig = TextConfig()


class CaptionReader:
    """Turns captions into embeddings; CLIP is loaded when the first text comes."""

    def __init__(self, config: TextConfig):
        self.config = config
        self._clip: ClipText | None = None

    def embedded(self, options: DecodeOptions, vectors: Tensor) -> DecodeOptions:
        """The options with embeddings in the place of texts, for strings of `vectors` (B, N, D).

        Raises:
            ValueError: not one caption for each string, or embeddings of another shape.
            MissingExtraError, WeightsError: as of `ClipText`.
        """
        text = options.text
        if text is None:
            return options
        if not isinstance(text, Tensor):
            text = self._read(text)
        wanted = (len(vectors), self.config.length, self.config.dim)
        if text.shape != wanted:
            raise ValueError(f"text must be {wanted[0]} captions, or their embeddings {wanted}; got {tuple(text.shape)}")
        return replace(options, text=text.to(vectors))

    def _read(self, captions: Sequence[str]) -> Tensor:
        if (self.config.length, self.config.dim) != (LENGTH, WIDTH):
            raise UnsupportedError(f"CLIP's embeddings are {LENGTH} x {WIDTH}, this model takes {self.config.length} x {self.config.dim}")
        if self._clip is None:
            self._clip = ClipText()
        different = list(dict.fromkeys(captions))
        return self._clip(different)[[different.index(caption) for caption in captions]]


class ReadsCaptions:
    """What both tokenizers add to their kind."""

    decode_options = frozenset({"text"})
    captions: CaptionReader

    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:
        """Vectors (B, N, D) of strings cut to `lengths` (B,), and `options.text`, to pictures.

        Raises:
            As `CaptionReader.embedded`.
        """
        decoded: Decoded = super().reconstruct(vectors, lengths, self.captions.embedded(options, vectors))  # type: ignore[misc]
        return decoded


class TaTitok(ReadsCaptions, VitTokenizer):
    """TA-TiTok with vector quantization."""

    family = "tatitok"
    Config = TaTitokConfig

    def __init__(self, config: TaTitokConfig):
        num_tokens, side, quantizer = config.quantizer.num_tokens, config.image_size, tokenwise_quantizer(config.quantizer)
        encoder = LatentTokenEncoder(config.encoder, side, num_tokens, TokenHead(config.encoder.dim, quantizer.dim))
        init_transformer([encoder])  # the decoder keeps PyTorch's own beginning
        spec = TokenSpec(quantizer.codebook_sizes, num_tokens, (num_tokens,), (side, side), (side, side))
        super().__init__(encoder, quantizer, _decoder(config, num_tokens, quantizer.dim), spec)
        self.config = config
        self.captions = CaptionReader(config.text)

    @classmethod
    def tiny(cls) -> Self:
        """6 tokens of 32 codes for 32 pixels a side, texts of 4 embeddings of 8 numbers; seeded random weights."""
        quantizer = VqConfig(num_tokens=6, dim=5, codebook_size=32)
        text = TextConfig(length=4, dim=8)
        return scattered(cls(TaTitokConfig(image_size=32, encoder=TINY_VIT, decoder=TINY_VIT, quantizer=quantizer, text=text)))


class TaTitokVae(ReadsCaptions, VitLatentTokenizer):
    """TA-TiTok with continuous latents."""

    family = "tatitok_vae"
    Config = TaTitokVaeConfig

    def __init__(self, config: TaTitokVaeConfig):
        super().__init__(config, _decoder(config, config.num_tokens, config.dim))
        init_transformer([self.encoder])  # the decoder keeps PyTorch's own beginning
        self.captions = CaptionReader(config.text)

    @classmethod
    def tiny(cls) -> Self:
        """6 latents of 5 numbers for 32 pixels a side, texts of 4 embeddings of 8 numbers; seeded random weights."""
        text = TextConfig(length=4, dim=8)
        return scattered(cls(TaTitokVaeConfig(image_size=32, encoder=TINY_VIT, decoder=TINY_VIT, num_tokens=6, dim=5, text=text)))


def _decoder(config: TaTitokConfig | TaTitokVaeConfig, num_tokens: int, dim: int) -> TextVitPixelDecoder:
    text = config.text
    return TextVitPixelDecoder(config.decoder, config.image_size, num_tokens, dim, text_length=text.length, text_dim=text.dim)
