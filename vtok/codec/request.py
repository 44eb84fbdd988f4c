"""What a user asks of the size or the quality of a file."""

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Rate:
    """At most one wish; none means all tokens.

    Args:
        tokens: of every tile, at least 1.
        num_bytes: most bytes of the whole file.
        bpp: most bits of the whole file per source pixel, above 0.
        psnr: least quality of the decoded picture in dB, above 0.

    Raises:
        ValueError: two wishes, or one out of range.
    """

    tokens: int | None = None
    num_bytes: int | None = None
    bpp: float | None = None
    psnr: float | None = None

    def __post_init__(self) -> None:
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        if len(given) > 1:
            raise ValueError(f"one of tokens, bytes, bpp and psnr can be asked for, got {given}")
        for name, value in given.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")

    @property
    def needs_errors(self) -> bool:
        """Whether tiles may get lengths of their own."""
        return (self.num_bytes, self.bpp, self.psnr) != (None, None, None)

    def budget(self, size: tuple[int, int]) -> int | None:
        """Most bytes for a picture of height, width; None when neither bytes nor bpp were asked for."""
        if self.bpp is not None:
            return int(self.bpp * size[0] * size[1] / 8)
        return self.num_bytes
