"""Numbers of tokens as they are written on the command line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vtok.errors import LengthError

if TYPE_CHECKING:
    from vtok.tokenizers.spec import LatentSpec, TokenSpec

_REST = ".."


def parse_lengths(text: str | None, spec: "TokenSpec | LatentSpec") -> list[int]:
    """Lengths that decode, rising: of "1,4,16,all", "1,2,4,..,all" (doubled from there on), or 1, 2, 4, ... and all for None.

    Raises:
        LengthError: what is no number, or a length that does not decode.
    """
    from vtok.codec.compare import doubling

    if text is None:
        return doubling(spec)
    parts = [part.strip() for part in text.split(",")]
    found: set[int] = set()
    for place, part in enumerate(parts):
        if part == _REST:
            found |= {n for n in doubling(spec) if _between(n, parts, place, spec.max_tokens)}
        else:
            found.add(spec.check_length(_number(part, text, spec.max_tokens)))
    return sorted(found)


def _between(length: int, parts: Sequence[str], place: int, most: int) -> bool:
    """Whether a length lies between what stands before and behind the dots."""
    before = _number(parts[place - 1], ",".join(parts), most) if place else 0
    behind = _number(parts[place + 1], ",".join(parts), most) if place + 1 < len(parts) else most
    return before < length <= behind


def _number(part: str, text: str, most: int) -> int:
    if part == "all":
        return most
    if not part.isdecimal():
        raise LengthError(f"--tokens takes numbers with commas such as 1,4,16,all or 1,2,4,..,all, got {text!r}")
    return int(part)
