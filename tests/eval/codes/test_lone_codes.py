"""Codes decoded alone: which of them, in which order, and what is decoded."""

from dataclasses import replace

import pytest
import torch

from tests.threads import threads
from vtok.eval.codes.codebook import CodebookStatistics
from vtok.eval.codes.lone_codes import Code, decode_each, most_used
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.fqgan import FqganTokenizer
from vtok.tokenizers.nested import NestedTokenizer


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The models are tiny."""
    with threads(1):
        yield


def statistics_of(ids, sizes=(10,)):
    """Of ids (B, P) of one codebook, or (B, P, K)."""
    ids = torch.as_tensor(ids)
    ids = ids if ids.ndim == 3 else ids[..., None]
    statistics = CodebookStatistics(sizes, ids.shape[1])
    statistics.update(ids)
    return statistics


STRINGS = [[7, 1], [7, 1], [3, 4], [2, 4]]  # at the first position 7, 7, 3, 2


def test_codes_come_by_use_at_the_positions_then_by_use_at_all_then_dead():
    found = most_used(statistics_of(STRINGS), 0, range(1), 10)
    assert [code.id for code in found] == [7, 2, 3, 1, 4, 0, 5, 6, 8, 9]
    assert [code.share for code in found[:5]] == [0.5, 0.25, 0.25, 0, 0]
    assert [code.dead for code in found] == [False] * 5 + [True] * 5


def test_shares_are_of_all_positions_that_are_filled():
    found = most_used(statistics_of(STRINGS), 0, range(2), 3)
    assert found == [Code(1, 0.25, dead=False), Code(4, 0.25, dead=False), Code(7, 0.25, dead=False)]


def test_where_there_is_no_room_for_all_an_eighth_is_dead():
    ids = torch.arange(0, 1000, 5).repeat(3)[:, None]
    found = most_used(statistics_of(ids, (1000,)), 0, range(1), 16)
    assert [code.id for code in found] == [*range(0, 70, 5), 1, 2]
    assert [code.dead for code in found] == [False] * 14 + [True] * 2


def test_a_codebook_that_is_used_up_has_no_dead_codes():
    found = most_used(statistics_of(torch.arange(10)[:, None]), 0, range(1), 5)
    assert [(code.id, code.dead) for code in found] == [(id_, False) for id_ in range(5)]


def test_a_codebook_beyond_32_bits_has_its_first_dead_codes_found():
    found = most_used(statistics_of([[0], [1], [3], [2**62 - 1]], (2**62,)), 0, range(1), 8)
    assert [code.id for code in found if code.dead] == [2, 4, 5, 6]


@pytest.mark.parametrize("batch", [1, 3, 99])
def test_a_nested_code_is_the_first_token_of_a_string_of_one(batch):
    tokenizer, done = NestedTokenizer.tiny(), []
    statistics = statistics_of(torch.randint(16, (20, 8), generator=torch.Generator().manual_seed(0)), (16,))
    (found,) = decode_each(tokenizer, statistics, [16], batch, lambda: done.append(1))
    ids = torch.tensor([code.id for code in found.codes])[:, None, None]
    expected = tokenizer.decode(Tokens.full(ids, tokenizer.spec))
    shown = torch.stack([torch.from_numpy(picture) for picture in found.pictures]).permute(0, 3, 1, 2) / 255
    assert (shown - expected).abs().max() < 0.6 / 255
    assert sorted(ids.flatten().tolist()) == list(range(16))
    assert len(done) == 16
    assert found.described.startswith("codes alone at position 1")


def recorded(tokenizer, monkeypatch):
    """All ids that the tokenizer decodes from now on."""
    ids, decode = [], tokenizer.decode
    monkeypatch.setattr(tokenizer, "decode", lambda tokens: ids.append(tokens.ids) or decode(tokens))
    return ids


def test_a_map_is_filled_with_a_code_beside_the_most_used_of_other_codebooks(monkeypatch):
    tokenizer = FqganTokenizer.tiny()
    seen = recorded(tokenizer, monkeypatch)
    strings = torch.tensor([5, 3]).repeat(9, 16, 1)
    strings[0] = torch.tensor([2, 6])
    first, second = decode_each(tokenizer, statistics_of(strings, tokenizer.spec.codebook_sizes), [2, 3], 8, lambda: None)
    assert [code.id for code in first.codes] == [5, 2]
    assert [code.id for code in second.codes] == [3, 6, 0]
    assert seen[0].tolist() == [[[code, 3]] * 16 for code in (5, 2)]
    assert seen[1].tolist() == [[[5, code]] * 16 for code in (3, 6, 0)]
    assert second.described.startswith("codes of codebook 2, others at their most used, at all 16 positions")


def test_a_code_of_a_string_in_scales_fills_the_first(monkeypatch):
    tokenizer = NestedTokenizer.tiny()
    tokenizer.spec = replace(tokenizer.spec, prefix_lengths=(2, 8), scales=((1, 2), (1, 6)))
    seen = recorded(tokenizer, monkeypatch)
    (found,) = decode_each(tokenizer, statistics_of([[4] * 8], (16,)), [1], 8, lambda: None)
    assert seen[0].tolist() == [[[4], [4]]]
    assert found.described.startswith("codes at the first 2 positions")
