"""The contracts of a tokenizer: strings of tokens, and the class that makes and reads them."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from vtok.errors import LengthError, UnsupportedError
from vtok.models.decoders import Decoded, DecodeOptions
from vtok.models.quantizers import Quantized
from vtok.tokenizers.checks import check_images, check_options, decoded_overlap, sides
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.spec import TokenSpec
from vtok.tokenizers.tiles import check_grid, count_pictures, cut_tiles, runs, stitch_tiles

__all__ = ["DecodeOptions", "Place", "Tokenizer", "Tokens"]

Place = tuple[int, int]
"""Row and column of a tile's first pixel in the whole picture, in pixels of the source."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """A batch of token strings, each with its own length.

    Args:
        ids: (batch, position, codebook) int64; ids beyond a length are 0 and mean nothing.
        lengths: (batch,) int64, 1..max_tokens.
        spec: what the ids mean.

    Raises:
        ValueError: shapes or types that contradict each other.
    """

    ids: Tensor
    lengths: Tensor
    spec: TokenSpec

    def __post_init__(self) -> None:
        if self.ids.ndim != 3 or self.ids.shape[2] != len(self.spec.codebook_sizes) or self.ids.dtype != torch.int64:
            wanted = f"(batch, position, {len(self.spec.codebook_sizes)}) int64"
            raise ValueError(f"ids must be {wanted}, got {tuple(self.ids.shape)} {self.ids.dtype}")
        if self.lengths.shape != self.ids.shape[:1] or self.lengths.dtype != torch.int64:
            raise ValueError(f"lengths must be ({len(self.ids)},) int64, got {tuple(self.lengths.shape)} {self.lengths.dtype}")
        if self.ids.shape[1] > self.spec.max_tokens:
            raise ValueError(f"ids have {self.ids.shape[1]} positions, the spec at most {self.spec.max_tokens}")
        if len(self.lengths) and not 1 <= int(self.lengths.min()) <= int(self.lengths.max()) <= self.ids.shape[1]:
            raise ValueError(f"lengths must be 1 to {self.ids.shape[1]}, got {int(self.lengths.min())} to {int(self.lengths.max())}")

    @classmethod
    def full(cls, ids: Tensor, spec: TokenSpec) -> Self:
        """Strings that all have as many tokens as `ids` (B, P, K) has positions."""
        return cls(ids, torch.full((len(ids),), ids.shape[1], dtype=torch.int64, device=ids.device), spec)

    def prefix(self, n: int | Tensor) -> Self:
        """Keep the first n tokens of each string: min(length, n) for an int, one length each for a tensor (batch,).

        Raises:
            LengthError: n exceeds the longest string, or is a length that does not decode.
        """
        if not len(self):
            return self
        longest = int(self.lengths.max())
        if not isinstance(n, Tensor):
            n = index(n)
            if n > longest:
                raise LengthError(f"prefix of {n} asked, the longest string has {longest} tokens")
            wanted = torch.full_like(self.lengths, self.spec.check_length(n))
        else:
            wanted = n.to(self.lengths)
            for length in set(wanted.tolist()):
                self.spec.check_length(length)
            if wanted.shape != self.lengths.shape or bool((wanted > self.lengths).any()):
                raise LengthError(f"prefixes of {wanted.tolist()} asked, the strings have {self.lengths.tolist()} tokens")
        lengths = torch.minimum(self.lengths, wanted)
        ids = self.ids[:, : int(lengths.max())]
        kept = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]  # (B, P)
        return replace(self, ids=ids * kept[..., None], lengths=lengths)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int | slice | Tensor) -> Self:
        """Some of the strings; an int gives a batch of one.

        Raises:
            IndexError: an int beyond the end.
        """
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"string {index} of {len(self)}")
            index = slice(index, index + 1 or None)
        return replace(self, ids=self.ids[index], lengths=self.lengths[index])

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Join batches of strings of one spec; shorter ones are filled with zeros.

        Raises:
            ValueError: no parts, or parts of different specs.
        """
        if not parts or any(p.spec != parts[0].spec for p in parts):
            raise ValueError("cat needs at least one batch, all of one spec")
        longest = max(p.ids.shape[1] for p in parts)
        ids = [nn.functional.pad(p.ids, (0, 0, 0, longest - p.ids.shape[1])) for p in parts]
        return cls(torch.cat(ids), torch.cat([p.lengths for p in parts]), parts[0].spec)

    def to(self, device: torch.device | str) -> Self:
        """The same strings on another device."""
        return replace(self, ids=self.ids.to(device), lengths=self.lengths.to(device))

    def flat(self) -> Tensor:
        """Ids as (batch, position * codebook), sub-tokens of one position side by side."""
        return self.ids.flatten(1)


class Tokenizer(Pretrained, ABC):
    """A family of discrete tokenizers: pictures to strings of tokens and back.

    A family sets `family`, `spec`, `decode_options` (the `DecodeOptions` it has) and `sees_neighbours` (whether a tile of a grid comes out
    otherwise than alone) and `errors_of_decodes` (of `encode_grid_with_errors`), and fills in `latents`, `quantize`, `lookup`,
    `reconstruct`, `code_state` and `tiny`;
    one that sees across tiles overrides `encode_grid`, `encode_grid_with_errors` and `decode_grid` too. Others may set `default_overlap`.
    """

    family: ClassVar[str]
    decode_options: ClassVar[frozenset[str]] = frozenset()
    sees_neighbours: ClassVar[bool] = False
    errors_of_decodes: ClassVar[bool] = False
    spec: TokenSpec

    @classmethod
    @abstractmethod
    def tiny(cls) -> Self:
        """A very small model with seeded random weights, for tests of the whole chain."""

    @abstractmethod
    def code_state(self) -> Mapping[str, Tensor]:
        """The tensors that give ids their meaning: codebooks and what maps them to latents."""

    @abstractmethod
    def latents(self, images: Tensor) -> Tensor:
        """Images (B, 3, *input_size) in [0, 1] to latents (B, N, D) before quantisation."""

    @abstractmethod
    def quantize(self, latents: Tensor) -> Quantized:
        """Latents (B, N, D) to vectors, ids and losses."""

    @abstractmethod
    def lookup(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Vectors (B, N, D) of the first `lengths` (B,) positions of ids (B, P, K)."""

    @abstractmethod
    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:
        """Vectors (B, N, D) of strings cut to `lengths` (B,) to pictures."""

    @property
    def default_overlap(self) -> int:
        """Pixels of the source by which neighbouring tiles overlap unless a user says otherwise."""
        return 0

    @property
    def code_digest(self) -> str:
        """SHA-256 in hex of the spec and of `code_state()`: equal digests read each other's ids."""
        digest = hashlib.sha256(json.dumps(self.spec.to_json(), sort_keys=True).encode())
        for name, value in sorted(self.code_state().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def spec_for(self, height: int, width: int) -> TokenSpec:
        """The spec at another input size.

        Raises:
            UnsupportedError: the family does not take that size; the message names the sizes it takes.
        """
        if (height, width) != self.spec.input_size:
            raise UnsupportedError(f"{self.family} takes {sides(self.spec.input_size)} pixels, not {sides((height, width))}")
        return self.spec

    def decoded_overlap(self, overlap: int) -> int:
        """Pixels by which decoded tiles overlap when those of the source overlap by `overlap`.

        Raises:
            ValueError: less than 0.
            UnsupportedError: this family sees across tiles; more than half a tile; or no whole number of decoded pixels.
        """
        if overlap > 0 and self.sees_neighbours:
            raise UnsupportedError(f"tiles of {self.family} see their neighbours and need no overlap: {overlap} pixels asked, take 0")
        return decoded_overlap(overlap, self.spec, self.family)

    @torch.no_grad()
    def encode(self, images: Tensor, num_tokens: int | None = None) -> Tokens:
        """Images (B, 3, *input_size) float in [0, 1] to strings of `num_tokens` tokens, all when None; deterministic.

        Raises:
            ValueError: images of another shape, type or range.
            LengthError: a number of tokens that does not decode.
        """
        spec = self.spec_for(*check_images(images))
        return _prefix(Tokens.full(self.quantize(self.latents(images)).ids, spec), num_tokens)

    @torch.no_grad()
    def decode(self, tokens: Tokens, options: DecodeOptions = DecodeOptions()) -> Tensor:  # noqa: B008 - frozen
        """Strings to pictures (B, 3, *output_size) float in [0, 1].

        Raises:
            ValueError: tokens of another spec, ids that no codebook has, or options of another number of strings.
            UnsupportedError: an option that this family does not have.
        """
        self._check_decode(tokens, options)
        vectors = self.lookup(tokens.ids, tokens.lengths)
        return self.reconstruct(vectors, tokens.lengths, options).pictures.clamp(0, 1)

    def decode_at(self, tokens: Tokens, options: DecodeOptions, places: Sequence[Place]) -> Tensor:  # noqa: ARG002 - see below
        """`decode` of tiles of larger pictures; families that draw noise by place in the picture override it."""
        return self.decode(tokens, options)

    def encode_grid(self, images: Tensor, num_tokens: int | None = None, *, overlap: int = 0) -> Tokens:
        """Pictures (B, 3, H, W) to a batch of B * rows * cols strings, row by row; H = (rows - 1) * (h - overlap) + h, and W likewise.

        Args:
            overlap: pixels that neighbouring tiles share.

        Raises:
            ValueError, UnsupportedError: a size that is not a whole number of tiles, or as `encode` and `decoded_overlap`.
        """
        self._check_grid(images, overlap)
        tiles = cut_tiles(images, self.spec.input_size, overlap)
        return Tokens.cat([self.encode(tiles[run], num_tokens) for run in runs(len(tiles), self.spec.input_size)])

    @torch.no_grad()
    def encode_grid_with_errors(self, images: Tensor, *, overlap: int = 0) -> tuple[Tokens, Tensor]:
        """`encode_grid` at full length, and what each prefix leaves undone, for rate control.

        Returns:
            tokens, and errors (B * rows * cols, 1 + len(prefix_lengths)) float32: the squared error of no token and of each
            decodable prefix, in the latents or, with `errors_of_decodes`, in what prefixes decode to, on one scale for all tiles.
        """
        self._check_grid(images, overlap)
        ids, errors = [], []
        tiles = cut_tiles(images, self.spec.input_size, overlap)
        for run in runs(len(tiles), self.spec.input_size):
            latents = self.latents(tiles[run])
            ids.append(self.quantize(latents).ids)
            vectors = (self.lookup(ids[-1], ids[-1].new_full((len(latents),), n)) for n in self.spec.prefix_lengths)
            left = [latents, *(latents - v for v in vectors)]
            errors.append(torch.stack([x.float().square().flatten(1).sum(1) for x in left], 1))
        return Tokens.full(torch.cat(ids), self.spec), torch.cat(errors)

    @torch.no_grad()
    def decode_grid(
        self,
        tokens: Tokens,
        rows: int,
        cols: int,
        options: DecodeOptions = DecodeOptions(),  # noqa: B008 - frozen
        *,
        origin: tuple[int, int] = (0, 0),
        overlap: int = 0,
    ) -> Tensor:
        """A batch of B * rows * cols strings to pictures (B, 3, H, W) in [0, 1] of the grid's size, as in `encode_grid`.

        Args:
            options: texts and seeds are one a picture, of which there are B.
            origin: tile row and column of the first string in the whole picture.
            overlap: pixels of the source that neighbouring tiles share; decoded tiles are blended there, see `stitch_tiles`.

        Raises:
            ValueError, UnsupportedError: strings or options of another number of pictures, or as `decode` and `decoded_overlap`.
        """
        decoded_overlap = self.decoded_overlap(overlap)
        options.check_pictures(count_pictures(len(tokens), rows, cols))
        down, across = (side - overlap for side in self.spec.input_size)
        grid = [((origin[0] + row) * down, (origin[1] + col) * across) for row in range(rows) for col in range(cols)]
        parts = [
            self.decode_at(
                tokens[run],
                options.of_tiles(run.start, run.stop, rows * cols).of_part(run.start, run.stop, len(tokens)),
                [grid[tile % len(grid)] for tile in range(run.start, run.stop)],
            )
            for run in runs(len(tokens), self.spec.output_size)
        ]
        tiles = torch.cat(parts)
        del parts  # as large as the tiles
        return stitch_tiles(tiles, rows, cols, decoded_overlap)

    def _check_grid(self, images: Tensor, overlap: int) -> None:
        size = check_images(images)
        self.decoded_overlap(overlap)
        check_grid(size, self.spec.input_size, overlap)

    def _check_decode(self, tokens: Tokens, options: DecodeOptions, spec: TokenSpec | None = None) -> None:
        """Look that the tokens are of `spec`, this tokenizer's own when None, and that it has the options."""
        own = spec or self.spec
        if tokens.spec.codebook_sizes != own.codebook_sizes or tokens.spec.max_tokens != own.max_tokens:
            raise ValueError(f"tokens of another spec: {tokens.spec}, this tokenizer has {own}")
        sizes = tokens.ids.new_tensor(own.codebook_sizes)
        if bool(((tokens.ids < 0) | (tokens.ids >= sizes)).any()):
            raise ValueError(f"ids must lie in codebooks of {own.codebook_sizes} codes")
        check_options(options, self.decode_options, self.family)


def _prefix(tokens: Tokens, num_tokens: int | None) -> Tokens:
    if num_tokens is None:
        return tokens
    if num_tokens > tokens.ids.shape[1]:
        raise LengthError(f"{num_tokens} tokens asked, a string has at most {tokens.ids.shape[1]}")
    return tokens.prefix(num_tokens)
