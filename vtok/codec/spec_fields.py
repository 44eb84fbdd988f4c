"""The token spec in the header: three bytes for the usual one, a general form for all others (SPEC.md, section 3)."""

from itertools import accumulate

from vtok.codec.cursor import Cursor, varint
from vtok.codec.limits import MAX_CODEBOOK_SIZE, MAX_CODEBOOKS, MAX_SIDE, MAX_TOKENS
from vtok.errors import UnsupportedError
from vtok.tokenizers.spec import TokenSpec

_COMPACT_TOKENS = 256
_SIDE_STEP = 4
_BITS = 0b0001_1111
_FIXED = 0b0010_0000


def check_spec(spec: TokenSpec) -> None:
    """Raise `UnsupportedError` for a spec that is larger than the format allows."""
    sides = (*spec.input_size, *spec.output_size)
    if max(sides) > MAX_SIDE:
        raise UnsupportedError(f"a .vtok file takes tiles of at most {MAX_SIDE} pixels a side, this model has {max(sides)}")
    if spec.max_tokens > MAX_TOKENS:
        raise UnsupportedError(f"a .vtok file takes at most {MAX_TOKENS} tokens a tile, this model has {spec.max_tokens}")
    if len(spec.codebook_sizes) > MAX_CODEBOOKS or max(spec.codebook_sizes) > MAX_CODEBOOK_SIZE:
        found = f"{len(spec.codebook_sizes)} of up to {max(spec.codebook_sizes)} codes"
        raise UnsupportedError(f"a .vtok file takes at most {MAX_CODEBOOKS} codebooks of at most 2**31 codes, this model has {found}")


def is_compact(spec: TokenSpec) -> bool:
    """Whether the short form holds this spec."""
    side, size = spec.input_size[0], spec.codebook_sizes[0]
    return (
        spec.input_size == spec.output_size == (side, side)
        and side % _SIDE_STEP == 0
        and side <= 256 * _SIDE_STEP
        and len(spec.codebook_sizes) == 1
        and size & (size - 1) == 0
        and spec.max_tokens <= _COMPACT_TOKENS
        and (spec.nested or len(spec.prefix_lengths) == 1)
    )


def write_compact(spec: TokenSpec) -> bytes:
    """Tile side, bits of an id and whether shorter strings decode, longest length."""
    bits = spec.stored_bits | (0 if spec.nested else _FIXED)
    return bytes([spec.input_size[0] // _SIDE_STEP - 1, bits, spec.max_tokens - 1])


def read_compact(cursor: Cursor) -> TokenSpec:
    """The inverse of `write_compact`."""
    side = (cursor.byte("tile side") + 1) * _SIDE_STEP
    kind = cursor.byte("bits of an id")
    if not kind & _BITS or kind & ~(_BITS | _FIXED):
        raise cursor.error(f"damaged or not supported: kind of codebook {kind:#04x}")
    max_tokens = cursor.byte("longest length less one") + 1
    prefixes = (max_tokens,) if kind & _FIXED else tuple(range(1, max_tokens + 1))
    return TokenSpec((2 ** (kind & _BITS),), max_tokens, prefixes, (side, side), (side, side))


def write_general(spec: TokenSpec) -> bytes:
    """Tile and output size, codebooks, longest length, and the lengths that decode unless all do."""
    lengths = () if spec.nested else spec.prefix_lengths
    steps = [b - a for a, b in zip((0, *lengths), lengths, strict=False)]
    sizes = [size - 2 for size in spec.codebook_sizes]
    numbers = [*spec.input_size, *spec.output_size, len(sizes), *sizes, spec.max_tokens - 1, len(lengths), *steps]
    return b"".join(map(varint, numbers))


def read_general(cursor: Cursor) -> TokenSpec:
    """The inverse of `write_general`."""
    sides = [cursor.varint(f"{what} in pixels", 1, MAX_SIDE) for what in ("tile height", "tile width", "output height", "output width")]
    num_codebooks = cursor.varint("number of codebooks", 1, MAX_CODEBOOKS)
    sizes = tuple(cursor.varint("codebook size less two", 0, MAX_CODEBOOK_SIZE - 2) + 2 for _ in range(num_codebooks))
    max_tokens = cursor.varint("longest length less one", 0, MAX_TOKENS - 1) + 1
    num_lengths = cursor.varint("number of lengths that decode", 0, max_tokens)
    lengths = tuple(accumulate(cursor.varint("step between lengths that decode", 1, max_tokens) for _ in range(num_lengths)))
    if lengths and lengths[-1] != max_tokens:
        raise cursor.error(f"damaged: the longest length that decodes is {lengths[-1]}, the longest of all {max_tokens}")
    return TokenSpec(sizes, max_tokens, lengths or tuple(range(1, max_tokens + 1)), (sides[0], sides[1]), (sides[2], sides[3]))
