"""Generated specs and token files."""

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from vtok.codec import TokenFile
from vtok.tokenizers.spec import TokenSpec

QUICK = settings(deadline=None, max_examples=60)  # no deadline: the machine may be busy

_SIDES = st.integers(1, 40) | st.sampled_from([64, 256, 1024, 65535])


@st.composite
def specs(draw: st.DrawFn) -> TokenSpec:
    """Specs of all kinds: short and general form, nested, fixed, with a few prefix lengths."""
    max_tokens = draw(st.integers(1, 12) | st.sampled_from([128, 256, 257, 1000]))
    nested, fixed = tuple(range(1, max_tokens + 1)), (max_tokens,)
    some = tuple(sorted({*draw(st.sets(st.integers(1, max_tokens), max_size=4)), max_tokens}))
    prefixes = draw(st.sampled_from([nested, fixed, some]))
    sizes = draw(st.sampled_from([(2,), (4096,), (2**31,)]) | st.lists(st.integers(2, 2**31), min_size=1, max_size=4).map(tuple))
    height, width = draw(_SIDES), draw(_SIDES)
    tile = draw(st.sampled_from([(height, width), (4 * min(height, 256),) * 2]))
    return TokenSpec(sizes, max_tokens, prefixes, tile, draw(st.sampled_from([tile, (2 * min(height, 99), width)])))


@st.composite
def token_files(draw: st.DrawFn, spec_strategy: st.SearchStrategy[TokenSpec] | None = None, **fields: Any) -> TokenFile:
    """Whole and tiled files with equal or varied lengths; tiles side by side, or overlapping."""
    spec = draw(spec_strategy or specs())
    whole = draw(st.booleans())
    if whole:
        height = draw(st.integers(1, 65535))
        size, num_tiles, overlap = (height, draw(st.integers(1, min(65535, 100_000_000 // height)))), 1, 0
    else:
        rows, cols = draw(st.integers(1, 5)), draw(st.integers(1, 5))
        overlap = draw(st.just(0) | st.integers(0, min(spec.input_size) // 2))
        size, counts = zip(*(_cut(count, side, overlap) for count, side in zip((rows, cols), spec.input_size, strict=True)), strict=True)
        num_tiles = counts[0] * counts[1]
        overlap = 0 if num_tiles == 1 else overlap
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    lengths = rng.choice(draw(st.lists(st.sampled_from(spec.prefix_lengths), min_size=1, max_size=5)), num_tiles).astype(np.int64)
    ids = rng.integers(0, spec.codebook_sizes, (num_tiles, int(lengths.max()), len(spec.codebook_sizes)))
    ids[np.arange(ids.shape[1]) >= lengths[:, None]] = 0
    caption = fields.get("caption", draw(st.none() | st.text(max_size=40)))
    return TokenFile(spec, draw(st.binary(min_size=4, max_size=4)), size, whole, lengths, ids, caption, overlap)


def _cut(count: int, side: int, overlap: int) -> tuple[int, int]:
    """Pixels that so many tiles cover, at most 9,999, and how many of them are needed for these."""
    pixels = min(overlap + count * (side - overlap), 9_999)
    return pixels, 1 if pixels <= side else 1 + -(-(pixels - side) // (side - overlap))


def assert_equal(file: TokenFile, other: TokenFile) -> None:
    """All fields but `cut` are the same."""
    for name in ("spec", "digest", "size", "whole", "caption", "overlap"):
        assert getattr(file, name) == getattr(other, name)
    np.testing.assert_array_equal(file.lengths, other.lengths)
    np.testing.assert_array_equal(file.ids, other.ids)
