"""Batches of pictures through a tokenizer as the codec codes each of them: encoded once, decoded at any length."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from vtok.codec.compress import cover
from vtok.codec.container import file_size
from vtok.codec.decompress import Pixels, device_of, uncover
from vtok.codec.header import check_picture, covered_size, grid_of
from vtok.tokenizers.spec import LatentSpec, TokenSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vtok.tokenizers.base import DecodeOptions, Tokenizer, Tokens
    from vtok.tokenizers.latents import Latents, LatentTokenizer


@dataclass(frozen=True, eq=False)
class CodedBatch:
    """Pictures of one size as strings.

    Args:
        strings: of each tile, row by row, picture by picture, at full length.
        size: height, width of each picture in pixels.
        grid: rows, columns of tiles.
        overlap: of neighbouring tiles in pixels.
        options: of the decoder.
    """

    tokenizer: Tokenizer | LatentTokenizer
    strings: Tokens | Latents
    size: tuple[int, int]
    grid: tuple[int, int]
    overlap: int
    options: DecodeOptions

    @property
    def ids(self) -> Tensor | None:
        """(strings, P, K) int64; None for a continuous tokenizer."""
        return getattr(self.strings, "ids", None)

    def decode(self, num_tokens: int) -> Tensor:
        """Pictures (B, 3, H, W) float in [0, 1] on the tokenizer's device."""
        model: Any = self.tokenizer
        images: Tensor = model.decode_grid(self.strings.prefix(num_tokens), *self.grid, self.options, overlap=self.overlap)
        covered = covered_size(self.tokenizer.spec, self.grid, self.overlap)
        return images[:, :, : self.size[0], : self.size[1]] if images.shape[2:] == covered else self._resized(images, covered)

    def num_bytes(self, num_tokens: int) -> int | None:
        """Bytes of the `.vtok` file of one of the pictures; None for a continuous tokenizer, which has none."""
        spec = self.tokenizer.spec
        if isinstance(spec, LatentSpec):
            return None
        lengths = np.full(self.grid[0] * self.grid[1], num_tokens, np.int64)
        return file_size(replace(spec, grid=None, scales=None), self.size, False, lengths, overlap=self.overlap)

    def _resized(self, images: Tensor, covered: tuple[int, int]) -> Tensor:
        """Of a tokenizer whose pictures come out larger or smaller than they went in."""
        from vtok.data.eight_bit import from_eight_bit

        return from_eight_bit(np.stack([uncover(image[None], self.size, covered) for image in images])).to(images.device)


class Reconstructor:
    """A tokenizer as `vtok.eval` takes it.

    Args:
        tokenizer: discrete or continuous.
        name: what to call it.
        options: of the decoder; a seed in it is that of picture 0, picture i has it plus i.
        overlap: of neighbouring tiles in pixels; None for the tokenizer's own.

    Raises:
        UnsupportedError: an option or an overlap that the tokenizer does not take.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | LatentTokenizer,
        *,
        name: str,
        options: DecodeOptions | None = None,
        overlap: int | None = None,
    ):
        from vtok.tokenizers.base import DecodeOptions
        from vtok.tokenizers.checks import check_options

        self.tokenizer = tokenizer
        self.name = name
        self.options = options or DecodeOptions()
        check_options(self.options, tokenizer.decode_options, tokenizer.family)
        self.overlap = tokenizer.default_overlap if overlap is None else overlap
        tokenizer.decoded_overlap(self.overlap)

    @property
    def spec(self) -> TokenSpec | LatentSpec:
        """Of the strings."""
        return self.tokenizer.spec

    def describe(self) -> dict[str, Any]:
        """Name, family, digests of codes and of all weights, spec, overlap and options."""
        return self._facts

    @cached_property
    def _facts(self) -> dict[str, Any]:
        given = {name: getattr(self.options, name) for name in sorted(self.options.given())}
        facts = {"kind": "model", "name": self.name, "family": self.tokenizer.family, "weights_sha256": weights_digest(self.tokenizer)}
        codes = {"code_digest": self.tokenizer.code_digest} if isinstance(self.spec, TokenSpec) else {}
        return facts | codes | {"spec": self.spec.to_json(), "overlap": self.overlap, "options": given}

    def encode(self, pixels: Pixels, numbers: Sequence[int], captions: Sequence[str | None]) -> CodedBatch:
        """Code pixels (B, H, W, 3) uint8 of one size.

        Args:
            numbers: of the pictures in their data set, from 0; a seed is moved by them.
            captions: go to a tokenizer that takes text, where each picture has one.

        Raises:
            PictureError: the pictures are too large.
        """
        from vtok.data.eight_bit import from_eight_bit

        size, spec = (pixels.shape[1], pixels.shape[2]), self.spec
        check_picture(spec, size, whole=False, overlap=self.overlap)
        grid = grid_of(spec, size, whole=False, overlap=self.overlap)
        overlap = 0 if grid == (1, 1) else self.overlap
        covered = covered_size(spec, grid, overlap)
        padded = pixels if covered == size else np.stack([cover(picture, covered, whole=False) for picture in pixels])
        strings = self.tokenizer.encode_grid(from_eight_bit(padded).to(device_of(self.tokenizer)), overlap=overlap)
        return CodedBatch(self.tokenizer, strings, size, grid, overlap, self._options(numbers, captions))

    def _options(self, numbers: Sequence[int], captions: Sequence[str | None]) -> DecodeOptions:
        options = self.options
        if "seed" in self.tokenizer.decode_options:
            first = options.seed if isinstance(options.seed, int) else 0
            options = replace(options, seed=[first + number for number in numbers])
        texts = [caption for caption in captions if caption]
        if "text" in self.tokenizer.decode_options and options.text is None and len(texts) == len(numbers):
            options = replace(options, text=texts)
        return options


def weights_digest(model: torch.nn.Module) -> str:
    """SHA-256 in hex of all tensors of a model, by name."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
