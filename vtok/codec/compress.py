"""From pictures to `.vtok` files of a wanted size or quality."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vtok.codec.container import TokenFile, file_size
from vtok.codec.decompress import Pixels, decode_file, device_of
from vtok.codec.header import check_picture, covered_size, grid_of
from vtok.codec.layers import Ids, Lengths, trim
from vtok.codec.quality import lengths_for_psnr
from vtok.codec.rate import Errors, SizeOf, lengths_for_bytes
from vtok.codec.request import Rate
from vtok.tokenizers.spec import TokenSpec

if TYPE_CHECKING:
    from PIL import Image

    from vtok.tokenizers.base import Tokenizer

_BATCH_PIXELS = 1 << 22


def compress(
    image: str | Path | Image.Image | Pixels,
    *,
    tokens: int | None = None,
    bytes: int | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    whole: bool = False,
    overlap: int | None = None,
    caption: str | None = None,
    model: Tokenizer | str | Path | None = None,
) -> bytes:
    """Code a picture as the bytes of a `.vtok` file; all tokens unless one of `tokens`, `bytes`, `bpp`, `psnr` says otherwise.

    Args:
        image: a picture file, a Pillow image, or pixels (H, W, 3) uint8.
        tokens: of every tile.
        bytes: most bytes of the file; tiles get tokens where these lower the error most.
        bpp: most bits of the file per source pixel, likewise.
        psnr: least quality in dB of the decoded picture, by the fewest bytes found.
        whole: one string for the whole picture, resized to one tile.
        overlap: pixels by which neighbouring tiles overlap, to be blended at decoding; None for the model's own. One tile has none.
        caption: text to store, for decoders that take one.
        model: a tokenizer, or what `vtok.load` takes; None for the default.

    Raises:
        PictureError: the picture cannot be read, or is too large.
        LengthError: a number of tokens that does not decode.
        BudgetError: a size or quality that no choice of tokens reaches.
        UnsupportedError: an overlap that the model does not take, or a continuous model.
        ValueError: two wishes, or one out of range; pixels of another shape or type.
    """
    from vtok.data.pictures import read_picture
    from vtok.weights import discrete, load_tokenizer

    rate = Rate(tokens, bytes, bpp, psnr)
    pixels = image if isinstance(image, np.ndarray) else read_picture(image)
    tokenizer = load_tokenizer(model) if model is None or isinstance(model, str | Path) else discrete(model)
    return encode_pictures([pixels], tokenizer, rate, whole=whole, overlap=overlap, captions=[caption])[0].to_bytes()


def encode_pictures(
    pictures: Sequence[Pixels],
    tokenizer: Tokenizer,
    rate: Rate,
    *,
    whole: bool = False,
    overlap: int | None = None,
    captions: Sequence[str | None] | None = None,
) -> list[TokenFile]:
    """Code pictures, those of one padded size together, up to about 4 million pixels at a time.

    Args:
        pictures: (H, W, 3) uint8 each.
        rate: asked of every picture.
        whole: one string for each whole picture, resized to one tile.
        overlap: of neighbouring tiles, as in `compress`.
        captions: one a picture, or None.

    Raises:
        As `compress`.
    """
    encoder = _Encoder(tokenizer, rate, whole, tokenizer.default_overlap if overlap is None else overlap)
    tokenizer.decoded_overlap(encoder.overlap)
    sources = [_Source(p, c) for p, c in zip(pictures, captions or [None] * len(pictures), strict=True)]
    for source in sources:
        encoder.check(source)
    files: dict[int, TokenFile] = {}
    for batch in encoder.batches(sources):
        files.update(zip(batch, encoder.encode([sources[i] for i in batch]), strict=True))
    return [files[i] for i in range(len(sources))]


def cover(pixels: Pixels, size: tuple[int, int], *, whole: bool) -> Pixels:
    """Make pixels (H, W, 3) as large as tiles are together: resized when `whole`, otherwise with the last row and column repeated."""
    from vtok.data.crops import resize

    height, width = size
    if whole:
        return resize(pixels, height, width)
    below, right = height - pixels.shape[0], width - pixels.shape[1]
    return np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge") if below or right else pixels


@dataclass(frozen=True, eq=False)
class _Source:
    pixels: Pixels
    caption: str | None

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, eq=False)
class _Encoder:
    """What is the same for all pictures of one call."""

    tokenizer: Tokenizer
    rate: Rate
    whole: bool
    overlap: int  # of neighbouring tiles, where there are any

    @cached_property
    def spec(self) -> TokenSpec:
        return replace(self.tokenizer.spec, grid=None, scales=None)

    @cached_property
    def digest(self) -> bytes:
        return bytes.fromhex(self.tokenizer.code_digest)[:4]

    def check(self, source: _Source) -> None:
        """Refuse what can be refused before any work is done."""
        from vtok.data.eight_bit import check_pixels

        spec = self.spec
        check_pixels(source.pixels)
        if self.rate.tokens is not None:
            spec.check_length(self.rate.tokens)
        check_picture(spec, source.size, whole=self.whole, overlap=self.overlap)
        rows, cols = self._grid(source.size)
        self._size_of(source)(np.full(rows * cols, spec.prefix_lengths[0], np.int64))  # a header refuses specs and captions

    def batches(self, sources: Sequence[_Source]) -> Iterator[list[int]]:
        """Indices of the pictures that go through the tokenizer together."""
        groups: dict[tuple[int, int], list[int]] = {}
        for index, source in enumerate(sources):
            groups.setdefault(self._padded_size(source.size), []).append(index)
        for (height, width), members in groups.items():
            count = max(1, _BATCH_PIXELS // (height * width))
            yield from (members[start : start + count] for start in range(0, len(members), count))

    def encode(self, sources: Sequence[_Source]) -> list[TokenFile]:
        """Code pictures of one padded size."""
        ids, errors = self._strings(sources)
        tiles = len(ids) // len(sources)
        files = []
        for index, source in enumerate(sources):
            own = slice(index * tiles, (index + 1) * tiles)
            lengths = np.full(tiles, ids.shape[1], np.int64) if errors is None else self._lengths(source, ids[own], errors[own])
            files.append(self._file(source, ids[own], lengths))
        return files

    def _grid(self, size: tuple[int, int]) -> tuple[int, int]:
        return grid_of(self.spec, size, whole=self.whole, overlap=self.overlap)

    def _overlap(self, size: tuple[int, int]) -> int:
        return 0 if self._grid(size) == (1, 1) else self.overlap

    def _padded_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return covered_size(self.spec, self._grid(size), self.overlap)

    def _strings(self, sources: Sequence[_Source]) -> tuple[Ids, Errors | None]:
        """Ids (pictures * tiles, P, K), and errors (pictures * tiles, 1 + lengths) where the wish needs them."""
        from vtok.data.eight_bit import from_eight_bit

        prepared = [cover(source.pixels, self._padded_size(source.size), whole=self.whole) for source in sources]
        images = from_eight_bit(prepared[0] if len(prepared) == 1 else np.stack(prepared)).to(device_of(self.tokenizer))
        del prepared  # a large picture is there as pixels, as padded pixels and as floats: the middle one can go
        overlap = self._overlap(sources[0].size)
        if self.rate.needs_errors:
            tokens, errors = self.tokenizer.encode_grid_with_errors(images, overlap=overlap)
            return tokens.ids.cpu().numpy(), errors.cpu().numpy()
        return self.tokenizer.encode_grid(images, self.rate.tokens, overlap=overlap).ids.cpu().numpy(), None

    def _lengths(self, source: _Source, ids: Ids, errors: Errors) -> Lengths:
        from vtok.eval.pairs.psnr import psnr

        size_of = self._size_of(source)
        budget = self.rate.budget(source.size)
        if budget is not None:
            return lengths_for_bytes(errors, self.spec, size_of, budget)

        def measure(lengths: Lengths) -> float:
            return psnr(source.pixels, decode_file(self._file(source, ids, lengths), self.tokenizer))

        return lengths_for_psnr(errors, self.spec, size_of, measure, self.rate.psnr or 0)

    def _size_of(self, source: _Source) -> SizeOf:
        return partial(file_size, self.spec, source.size, self.whole, caption=source.caption, overlap=self._overlap(source.size))

    def _file(self, source: _Source, ids: Ids, lengths: Lengths) -> TokenFile:
        overlap = self._overlap(source.size)
        return TokenFile(self.spec, self.digest, source.size, self.whole, lengths, trim(ids, lengths), source.caption, overlap)
