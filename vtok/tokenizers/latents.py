"""The contracts of a continuous tokenizer: strings of latents, and the class that makes and reads them. It has no ids to store."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from vtok.errors import UnsupportedError
from vtok.models.decoders import Decoded, DecodeOptions
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.checks import check_images, check_options, decoded_overlap, eighth_of_a_tile, sides
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.spec import LatentSpec
from vtok.tokenizers.tiles import check_grid, count_pictures, cut_tiles, runs, stitch_tiles

__all__ = ["AnyTokenizer", "LatentTokenizer", "Latents"]
LOGVAR_RANGE = (-30.0, 20.0)  # beyond it a variance is no number in float32, or none at all


@dataclass(frozen=True, eq=False)
class Latents:
    """A batch of strings of latents: points, or a Gaussian for each.

    Args:
        mean: (B, N, D).
        logvar: (B, N, D) logarithms of the variances; None for points.
        lengths: (B,) int64 latents that count; None for all.
        spec: what they are.
    """

    mean: Tensor
    logvar: Tensor | None
    lengths: Tensor | None
    spec: LatentSpec

    def mode(self) -> Tensor:
        """The most probable latents (B, N, D)."""
        return self.mean

    def sample(self, generator: torch.Generator) -> Tensor:
        """Latents (B, N, D) drawn with noise from a generator on the CPU; the mean where there are no variances."""
        noise = torch.randn(self.mean.shape, generator=generator).to(self.mean)
        return self.with_noise(noise)

    def with_noise(self, noise: Tensor) -> Tensor:
        """mean + std * noise, noise (B, N, D)."""
        return self.mean if self.logvar is None else self.mean + (0.5 * self.logvar).exp() * noise

    def at(self, vectors: Tensor) -> Self:
        """Points (B, N, D), such as a sample or what a generator made, in the place of these."""
        return replace(self, mean=vectors, logvar=None)

    def prefix(self, n: int) -> Self:
        """The first n latents of each string.

        Raises:
            LengthError: a length that does not decode.
        """
        self.spec.check_length(n)
        return self if n == self.spec.num_tokens else replace(self, lengths=self.all_lengths().clamp(max=n))

    def all_lengths(self) -> Tensor:
        """(B,) int64 latents that count."""
        if self.lengths is not None:
            return self.lengths
        return torch.full((len(self.mean),), self.spec.num_tokens, device=self.mean.device)

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, index: slice) -> Self:
        """Some of the strings."""
        logvar = None if self.logvar is None else self.logvar[index]
        lengths = None if self.lengths is None else self.lengths[index]
        return replace(self, mean=self.mean[index], logvar=logvar, lengths=lengths)

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Join batches of strings of one model.

        Raises:
            ValueError: no parts, or parts of different specs, or Gaussians beside points.
        """
        if not parts or any(p.spec != parts[0].spec or (p.logvar is None) != (parts[0].logvar is None) for p in parts):
            raise ValueError("cat needs at least one batch, all of one spec, and all Gaussians or all points")
        logvars = [p.logvar for p in parts if p.logvar is not None]
        lengths = None if all(p.lengths is None for p in parts) else torch.cat([p.all_lengths() for p in parts])
        return replace(parts[0], mean=torch.cat([p.mean for p in parts]), logvar=torch.cat(logvars) if logvars else None, lengths=lengths)


class LatentTokenizer(Pretrained, ABC):
    """A family of continuous tokenizers: pictures to strings of latents and back.

    A family sets `family`, `spec`, `decode_options` (the `DecodeOptions` it has), and fills in `gaussians`, `reconstruct` and `tiny`.
    """

    family: ClassVar[str]
    decode_options: ClassVar[frozenset[str]] = frozenset()
    spec: LatentSpec

    @classmethod
    @abstractmethod
    def tiny(cls) -> Self:
        """A very small model with seeded random weights, for tests of the whole chain."""

    @abstractmethod
    def gaussians(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images (B, 3, *input_size) in [0, 1] to means and logarithms of variances, both (B, N, D)."""

    @abstractmethod
    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:
        """Latents (B, N, D) of strings cut to `lengths` (B,) to pictures."""

    @property
    def default_overlap(self) -> int:
        """Pixels by which tiles of a larger picture overlap: an eighth of a tile."""
        return eighth_of_a_tile(self.spec)

    def decoded_overlap(self, overlap: int) -> int:
        """Pixels by which decoded tiles overlap when those of the source overlap by `overlap`.

        Raises:
            ValueError, UnsupportedError: as of `checks.decoded_overlap`.
        """
        return decoded_overlap(overlap, self.spec, self.family)

    def spec_for(self, height: int, width: int) -> LatentSpec:
        """The spec at another input size.

        Raises:
            UnsupportedError: the family does not take that size; the message names the sizes it takes.
        """
        if (height, width) != self.spec.input_size:
            raise UnsupportedError(f"{self.family} takes {sides(self.spec.input_size)} pixels, not {sides((height, width))}")
        return self.spec

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Latents:
        """Pictures (B, 3, *input_size) float in [0, 1] to latents; deterministic.

        Raises:
            ValueError: pictures of another shape, type or range.
        """
        spec = self.spec_for(*check_images(pictures))
        mean, logvar = self.gaussians(pictures)
        return Latents(mean, logvar, None, spec)

    @torch.no_grad()
    def decode(self, latents: Latents, options: DecodeOptions = DecodeOptions()) -> Tensor:  # noqa: B008 - frozen
        """The most probable latents to pictures (B, 3, *output_size) float in [0, 1]; `latents.at(...)` decodes others.

        Raises:
            ValueError: latents of another spec or shape.
            UnsupportedError: an option that this family does not have.
        """
        if latents.spec != self.spec:
            raise ValueError(f"latents of another spec: {latents.spec}, this tokenizer has {self.spec}")
        check_options(options, self.decode_options, self.family)
        vectors, wanted = latents.mode(), (len(latents), self.spec.num_tokens, self.spec.dim)
        if vectors.shape != wanted or not vectors.is_floating_point():
            raise ValueError(f"latents must be {wanted} float, got {tuple(vectors.shape)} {vectors.dtype}")
        return self.reconstruct(vectors.float(), latents.all_lengths(), options).pictures.clamp(0, 1)

    def encode_grid(self, images: Tensor, *, overlap: int = 0) -> Latents:
        """Images (B, 3, height, width) that a grid of tiles covers to a batch of B * rows * cols strings, row by row."""
        size = check_images(images)
        self.decoded_overlap(overlap)
        check_grid(size, self.spec.input_size, overlap)
        tiles = cut_tiles(images, self.spec.input_size, overlap)
        return Latents.cat([self.encode(tiles[run]) for run in runs(len(tiles), self.spec.input_size)])

    @torch.no_grad()
    def decode_grid(
        self,
        latents: Latents,
        rows: int,
        cols: int,
        options: DecodeOptions = DecodeOptions(),  # noqa: B008 - frozen
        *,
        overlap: int = 0,
    ) -> Tensor:
        """A batch of B * rows * cols strings to pictures (B, 3, height, width) in [0, 1]."""
        shared = self.decoded_overlap(overlap)
        options.check_pictures(count_pictures(len(latents), rows, cols))
        parts = [
            self.decode(latents[run], options.of_tiles(run.start, run.stop, rows * cols).of_part(run.start, run.stop, len(latents)))
            for run in runs(len(latents), self.spec.output_size)
        ]
        tiles = torch.cat(parts)
        del parts  # as large as the tiles
        return stitch_tiles(tiles, rows, cols, shared)


AnyTokenizer = Tokenizer | LatentTokenizer
"""Discrete or continuous: both have `spec`, `encode_grid` and `decode_grid`, and what the one gives, cut by `prefix`, the other takes."""
