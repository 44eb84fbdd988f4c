"""A tokenizer small enough to follow: low cosines of each 8 x 8 tile, each rounded to one of 64 levels, one a token."""

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from vtok.models.decoders import Decoded, DecodeOptions
from vtok.models.quantizers import Quantized
from vtok.tokenizers.base import Tokenizer, Tokens
from vtok.tokenizers.spec import TokenSpec

SIDE = 8
COSINES = ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1))


class ToyTokenizer(Tokenizer):
    """24 tokens: eight cosines of three channels.

    Args:
        step: of the levels; another step is another model.
        prefixes: lengths that decode; all when None.
        zoom: decoded pixels for one source pixel, along each side.
        overlap: of tiles, unless a user says otherwise.
    """

    family = "toy"
    decode_options = frozenset({"text"})

    def __init__(self, step: float = 0.1, prefixes: tuple[int, ...] | None = None, zoom: int = 1, overlap: int = 0):
        super().__init__()
        num = 3 * len(COSINES)
        side = SIDE * zoom
        self.spec = TokenSpec((64,), num, prefixes or tuple(range(1, num + 1)), (SIDE, SIDE), (side, side))
        self.register_buffer("levels", (torch.arange(64) - 32) * step)
        self.register_buffer("basis", torch.stack([_cosine(v, u) for v, u in COSINES]))
        self.zoom = zoom
        self.overlap = overlap
        self.given: DecodeOptions | None = None

    levels: Tensor
    basis: Tensor  # (8, SIDE, SIDE), orthonormal

    @classmethod
    def tiny(cls) -> Self:
        return cls()

    @property
    def default_overlap(self) -> int:
        return self.overlap

    def code_state(self) -> Mapping[str, Tensor]:
        return {"levels": self.levels}

    def latents(self, images: Tensor) -> Tensor:
        return torch.einsum("bchw,fhw->bfc", images - 0.5, self.basis).flatten(1)[..., None]  # (B, 24, 1)

    def quantize(self, latents: Tensor) -> Quantized:
        ids = (latents - self.levels).abs().argmin(-1, keepdim=True)
        return Quantized(self.levels[ids], ids, {})

    def lookup(self, ids: Tensor, lengths: Tensor) -> Tensor:
        kept = torch.arange(ids.shape[1]) < lengths[:, None]
        vectors = self.levels[ids] * kept[..., None]
        return torch.nn.functional.pad(vectors, (0, 0, 0, self.spec.max_tokens - ids.shape[1]))

    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:  # noqa: ARG002 - zeros stand for what is cut
        coefficients = vectors.reshape(-1, len(COSINES), 3)
        pictures = 0.5 + torch.einsum("bfc,fhw->bchw", coefficients, self.basis)
        return Decoded(pictures.repeat_interleave(self.zoom, 2).repeat_interleave(self.zoom, 3))

    def decode_grid(self, tokens: Tokens, rows: int, cols: int, options: DecodeOptions = DecodeOptions(), **more: Any) -> Tensor:  # noqa: B008
        self.given = options
        return super().decode_grid(tokens, rows, cols, options, **more)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture (height, width, 3) uint8 with smooth and with busy parts."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 40
    smooth = np.stack([np.sin(y + c) * np.cos(x - c) for c in range(3)], -1)
    grains = rng.normal(0, 0.5, (height // 4 + 1, width // 4 + 1, 3))
    busy = grains.repeat(4, 0).repeat(4, 1)[:height, :width] * (x > 0.5 * x.max())[..., None]
    return np.clip(128 + 90 * (smooth + busy), 0, 255).astype(np.uint8)


def _cosine(v: int, u: int) -> Tensor:
    def wave(frequency: int) -> Tensor:
        scale = math.sqrt((1 if frequency == 0 else 2) / SIDE)
        return scale * torch.cos(math.pi * frequency * (torch.arange(SIDE) + 0.5) / SIDE)

    return wave(v)[:, None] * wave(u)
