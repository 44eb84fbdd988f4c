"""The prefix rules: how often each length is drawn, and what a draw depends on."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from vtok.errors import LengthError
from vtok.tokenizers.prefix import Pair, PrefixRule, TailDrop, Uniform, draw_lengths
from vtok.tokenizers.spec import TokenSpec

SETTINGS: dict[str, object] = {
    "full": "full",
    "uniform": "uniform",
    "pow2": "pow2",
    "uniform_pow2": "uniform_pow2",
    "geometric": {"rule": "geometric", "p": 0.7},
    "list": {"rule": "list", "lengths": [3, 8, 12], "weights": [1, 0, 3]},
    "list without weights": {"rule": "list", "lengths": [1, 5]},
}
TWELVE: dict[str, dict[int, float]] = {
    "full": {12: 1},
    "uniform": dict.fromkeys(range(1, 13), 1 / 12),
    "pow2": dict.fromkeys((1, 2, 4, 8, 12), 1 / 5),
    "uniform_pow2": {1: 1 / 12, 2: 1 / 12, 4: 2 / 12, 8: 4 / 12, 12: 4 / 12},
    "geometric": {k: 0.7 ** (k - 1) * 0.3 / (1 - 0.7**12) for k in range(1, 13)},
    "list": {3: 1 / 4, 12: 3 / 4},
    "list without weights": {1: 1 / 2, 5: 1 / 2},
}


class Settings(BaseModel):
    prefix: PrefixRule


def rule_of(value: object):
    return Settings.model_validate({"prefix": value}).prefix


def spec_of(max_tokens: int, lengths: tuple[int, ...] | None = None) -> TokenSpec:
    return TokenSpec((16,), max_tokens, lengths or tuple(range(1, max_tokens + 1)), (8, 8), (8, 8))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", SETTINGS)
def test_lengths_come_as_often_as_the_rule_says(name):
    drawn = draw_lengths(rule_of(SETTINGS[name]), spec_of(12), torch.arange(20_000), seeded())[0]
    counts = torch.bincount(drawn, minlength=13)
    expected = torch.zeros(13, dtype=torch.float64)
    for length, share in TWELVE[name].items():
        expected[length] = 20_000 * share
    assert counts[expected == 0].sum() == 0
    chi_square = ((counts - expected).square() / expected)[expected > 0].sum()
    assert chi_square < 30  # 11 degrees of freedom at most: above 30 once in 600 draws


def test_tail_drop_draws_one_length_for_the_whole_batch():
    spec = spec_of(12)
    drawn = [draw_lengths(TailDrop(), spec, torch.arange(5, 9), seeded(step))[0] for step in range(3000)]
    assert all(len(lengths.unique()) == 1 for lengths in drawn)
    counts = torch.bincount(torch.stack(drawn)[:, 0], minlength=13)[1:]
    assert (counts - 250.0).square().sum() / 250 < 30


def test_a_pair_is_all_tokens_and_what_the_inner_rule_draws():
    spec, indices = spec_of(12), torch.arange(50)
    full, prefix = draw_lengths(Pair(of=rule_of("pow2")), spec, indices, seeded())
    assert full.tolist() == [12] * 50
    assert torch.equal(prefix, draw_lengths(rule_of("pow2"), spec, indices, seeded())[0])


def test_the_inner_rule_of_a_pair_is_uniform_unless_said():
    assert rule_of("pair") == Pair(of=Uniform())


@given(st.sampled_from(sorted(SETTINGS)), st.permutations(range(9)), st.integers(0, 9), st.integers(0, 2**31))
def test_a_draw_does_not_depend_on_the_rest_of_the_batch(name, order, cut, seed):
    rule, spec = rule_of(SETTINGS[name]), spec_of(12)
    whole = draw_lengths(rule, spec, torch.arange(9), seeded(seed))[0]
    indices = torch.tensor(order)
    parts = [draw_lengths(rule, spec, part, seeded(seed))[0] for part in (indices[:cut], indices[cut:]) if len(part)]
    assert torch.equal(torch.cat(parts), whole[indices])


@pytest.mark.parametrize("split", [1, 2, 7])
def test_tail_drop_does_not_depend_on_the_split(split):
    spec = spec_of(12)
    whole = draw_lengths(TailDrop(), spec, torch.arange(9), seeded())[0]
    assert torch.equal(torch.cat([draw_lengths(TailDrop(), spec, part, seeded())[0] for part in torch.arange(9).split(split)]), whole)


@pytest.mark.parametrize("name", ["full", "uniform", "pow2", "uniform_pow2", "geometric"])
@pytest.mark.parametrize("lengths", [(30,), (1, 5, 14, 30), (9, 30), tuple(range(1, 31))])
def test_only_lengths_that_decode_are_drawn(name, lengths):
    drawn = draw_lengths(rule_of(SETTINGS[name]), spec_of(30, lengths), torch.arange(500), seeded())[0]
    assert set(drawn.tolist()) <= set(lengths)


def test_a_geometric_rule_serves_strings_whose_last_share_vanishes():
    rule = rule_of({"rule": "geometric", "p": 0.1})
    assert draw_lengths(rule, spec_of(4096, (4000, 4096)), torch.arange(20), seeded())[0].tolist() == [4000] * 20


def test_a_listed_length_that_does_not_decode_is_named():
    with pytest.raises(LengthError, match="48 tokens do not decode here; lengths that do: 1 to 12"):
        draw_lengths(rule_of({"rule": "list", "lengths": [4, 48]}), spec_of(12), torch.arange(2), seeded())


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("uniformly", "uniform"),
        ("geometric", "p"),
        ({"rule": "geometric", "p": 1.0}, "less than 1"),
        ({"rule": "uniform", "p": 0.5}, "p"),
        ({"rule": "list", "lengths": []}, "at least 1"),
        ({"rule": "list", "lengths": [1, 1]}, "twice"),
        ({"rule": "list", "lengths": [1, 2], "weights": [1]}, "one for each of the 2 lengths"),
        ({"rule": "list", "lengths": [1, 2], "weights": [0, 0]}, "not all 0"),
        ({"rule": "pair", "of": "pair"}, "pair"),
    ],
)
def test_a_wrong_setting_is_refused(value, found):
    with pytest.raises(ValidationError, match=found):
        rule_of(value)


@pytest.mark.parametrize("value", [*SETTINGS.values(), "tail_drop", "pair", {"rule": "pair", "of": {"rule": "geometric", "p": 0.5}}])
def test_a_rule_reads_back_what_it_writes(value):
    settings = Settings.model_validate({"prefix": value})
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
