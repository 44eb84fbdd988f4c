"""Families that encode and decode a picture as a whole; only their tokens are tile by tile."""

from abc import abstractmethod

import torch
from torch import Tensor

from vtok.models.decoders import Decoded
from vtok.models.quantizers import Quantized, Quantizer
from vtok.tokenizers.base import DecodeOptions, Tokenizer, Tokens


class WholePictureTokenizer(Tokenizer):
    """A tokenizer whose `latents` take any grid of tiles, (B, 3, rows * h, cols * w) to (B * rows * cols, N, D), row by row.

    A family sets `quantizer`, and fills in `decode_map` in the place of `reconstruct`.
    """

    sees_neighbours = True
    quantizer: Quantizer

    @abstractmethod
    def decode_map(self, vectors: Tensor, lengths: Tensor, rows: int, cols: int) -> Decoded:
        """Vectors (B * rows * cols, N, D) of strings cut to `lengths` to pictures (B, 3, rows * h, cols * w)."""

    def quantize(self, latents: Tensor) -> Quantized:
        quantized: Quantized = self.quantizer(latents)
        return quantized

    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:  # noqa: ARG002 - these families have none
        return self.decode_map(vectors, lengths, 1, 1)

    @torch.no_grad()
    def encode_grid_with_errors(self, images: Tensor, *, overlap: int = 0) -> tuple[Tokens, Tensor]:
        self._check_grid(images, overlap)
        ids, errors = self.quantizer.search(self.latents(images))
        return Tokens.full(ids, self.spec), errors

    @torch.no_grad()
    def decode_grid(
        self,
        tokens: Tokens,
        rows: int,
        cols: int,
        options: DecodeOptions = DecodeOptions(),  # noqa: B008 - frozen
        *,
        origin: tuple[int, int] = (0, 0),  # noqa: ARG002 - nothing here depends on the place
        overlap: int = 0,
    ) -> Tensor:
        self.decoded_overlap(overlap)
        self._check_decode(tokens, options)
        return self.decode_map(self.lookup(tokens.ids, tokens.lengths), tokens.lengths, rows, cols).pictures.clamp_(0, 1)
