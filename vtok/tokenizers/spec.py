"""What a string of tokens, or of latents, looks like. No torch here, so that `vtok info` and `vtok truncate` need none."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from vtok.errors import ConfigError, LengthError
from vtok.tokenizers.registry import PREFIX_FAMILIES


class LengthRules:
    """Which numbers of tokens decode."""

    max_tokens: int
    prefix_lengths: tuple[int, ...]

    @cached_property
    def nested(self) -> bool:
        """Whether every prefix decodes."""
        return len(self.prefix_lengths) == self.max_tokens

    def check_length(self, num_tokens: int) -> int:
        """Return `num_tokens` if a string of that length decodes.

        Raises:
            LengthError: it does not; the message names the lengths that do.
        """
        if num_tokens in self.prefix_lengths:
            return num_tokens
        allowed = f"1 to {self.max_tokens}" if self.nested else _short(self.prefix_lengths)
        hint = f"; prefixes decode with the families {', '.join(PREFIX_FAMILIES)}" if len(self.prefix_lengths) == 1 else ""
        raise LengthError(f"{num_tokens} tokens do not decode here; lengths that do: {allowed}{hint}")

    def round_down(self, num_tokens: int) -> int:
        """The longest length that decodes within `num_tokens`; 0 when none does."""
        return max((n for n in self.prefix_lengths if n <= num_tokens), default=0)


@dataclass(frozen=True)
class TokenSpec(LengthRules):
    """Shape and alphabet of the token strings of one tokenizer.

    Args:
        codebook_sizes: sub-tokens of one position: (4096,), or (16384, 16384) for two codebooks.
        max_tokens: positions at full length.
        prefix_lengths: lengths that decode, rising: 1..max_tokens when nested, the ends of scales, or (max_tokens,) when fixed.
        input_size: height, width in pixels that the encoder takes.
        output_size: height, width in pixels of the decoded picture.
        grid: rows, columns of raster tokens; None for a 1D string.
        scales: rows, columns of each scale of a multi-scale string ((1, n) in 1D); None otherwise.

    Raises:
        ConfigError: sizes that contradict each other.
    """

    codebook_sizes: tuple[int, ...]
    max_tokens: int
    prefix_lengths: tuple[int, ...]
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    grid: tuple[int, int] | None = None
    scales: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        self._check_kinds()
        if not self.codebook_sizes or min(self.codebook_sizes) < 2 or max(self.codebook_sizes) > 2**62:
            raise ConfigError(f"codebook sizes must be 2 to 2**62, got {self.codebook_sizes}")
        rising = all(a < b for a, b in zip(self.prefix_lengths, self.prefix_lengths[1:], strict=False))
        if not self.prefix_lengths or not rising or self.prefix_lengths[0] < 1 or self.prefix_lengths[-1] != self.max_tokens:
            raise ConfigError(
                f"prefix lengths must rise to max_tokens = {self.max_tokens} from 1 or more, got {_short(self.prefix_lengths)}"
            )
        if min(*self.input_size, *self.output_size) < 1:
            raise ConfigError(f"sizes must be positive, got {self.input_size} and {self.output_size}")

        cells = [self.grid] if self.grid is not None else self.scales or []
        if any(min(pair) < 1 for pair in cells) or (cells and sum(rows * cols for rows, cols in cells) != self.max_tokens):
            raise ConfigError(f"a grid or scales must hold max_tokens = {self.max_tokens} positions, got {cells}")

    def _check_kinds(self) -> None:
        """Whole numbers, and pairs of them; specs are read from files too."""
        pairs = [self.input_size, self.output_size, *([] if self.grid is None else [self.grid])]
        if not isinstance(self.scales, tuple | None) or not all(isinstance(v, tuple) for v in (self.codebook_sizes, self.prefix_lengths)):
            raise ConfigError("codebook sizes, prefix lengths and scales of a token spec are lists")
        pairs += self.scales or ()
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            raise ConfigError(f"sizes, grid and scales of a token spec are pairs of rows and columns, got {pairs}")
        numbers = [self.max_tokens, *self.codebook_sizes, *self.prefix_lengths, *(n for pair in pairs for n in pair)]
        if not all(type(n) is int for n in numbers):
            raise ConfigError("all sizes and lengths of a token spec are whole numbers")

    @cached_property
    def bits_per_token(self) -> float:
        """Information of one position in bits, log2 of the number of its values."""
        return sum(math.log2(size) for size in self.codebook_sizes)

    @cached_property
    def stored_bits(self) -> int:
        """Whole bits that one position takes when packed: each sub-token in its own."""
        return sum((size - 1).bit_length() for size in self.codebook_sizes)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, as stored in `config.json` and in shards."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TokenSpec":
        """The inverse of `to_json`.

        Raises:
            ConfigError: missing or unknown keys, or values of a wrong kind.
        """
        names = {f.name for f in fields(cls)}
        if unknown := set(values) - names:
            raise ConfigError(f"unknown key in a token spec: {', '.join(sorted(unknown))}")
        try:
            return cls(**{name: _tuples(value) for name, value in values.items()})
        except TypeError as error:
            raise ConfigError(f"not a token spec: {error}") from None


@dataclass(frozen=True)
class LatentSpec(LengthRules):
    """Shape of the strings of latents of one continuous tokenizer.

    Args:
        num_tokens: latents at full length.
        dim: numbers of a latent.
        grid: frames, rows, columns of raster latents; None for a 1D string.
        input_size: height, width in pixels that the encoder takes, and of the decoded picture.
        frames: pictures that one string stands for; 1 for a still picture.
        prefix_lengths: lengths that decode, rising to `num_tokens`.
    """

    num_tokens: int
    dim: int
    grid: tuple[int, int, int] | None
    input_size: tuple[int, int]
    frames: int
    prefix_lengths: tuple[int, ...]

    @property
    def max_tokens(self) -> int:  # type: ignore[override]
        """`num_tokens`, by the name that it has in a `TokenSpec`."""
        return self.num_tokens

    @property
    def output_size(self) -> tuple[int, int]:
        """Height, width in pixels of the decoded picture."""
        return self.input_size

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return asdict(self)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def _short(lengths: tuple[int, ...]) -> str:
    shown = [str(n) for n in lengths]
    return ", ".join(shown if len(shown) <= 12 else [*shown[:6], "...", shown[-1]])
