"""Token-major order and cuts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.strategies import QUICK
from vtok.codec.layers import cut_lengths, from_layers, to_layers, too_uneven, trim

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=30).map(np.array)


def in_order(lengths):
    return [(tile, layer) for layer in range(max(lengths)) for tile, length in enumerate(lengths) if layer < length]


@QUICK
@given(LENGTHS)
def test_layers_hold_every_token_once_first_tokens_first(lengths):
    ids = np.arange(len(lengths) * lengths.max() * 2).reshape(len(lengths), lengths.max(), 2) + 1
    tokens = to_layers(ids, lengths)
    assert tokens.tolist() == [ids[place].tolist() for place in in_order(lengths)]
    np.testing.assert_array_equal(from_layers(tokens, lengths), trim(ids, lengths))


@QUICK
@given(LENGTHS, st.data())
def test_a_cut_leaves_each_tile_the_tokens_before_it(lengths, data):
    num_tokens = data.draw(st.integers(0, int(lengths.sum()) - 1))
    kept = in_order(lengths)[:num_tokens]
    assert cut_lengths(lengths, num_tokens).tolist() == [sum(tile == t for t, _ in kept) for tile in range(len(lengths))]


@QUICK
@given(st.lists(st.integers(1, 256), min_size=1, max_size=400).map(np.array))
def test_strings_of_at_most_256_tokens_are_never_too_uneven(lengths):
    assert not too_uneven(np.tile(lengths, 160), 64)


def test_one_long_string_among_many_short_ones_is_too_uneven():
    assert too_uneven(np.array([60_000] + [1] * 60_000), 1)
