"""What holds of every family of generators: strings of their own seeds, any length that decodes, losses that fall, what is refused."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from vtok.data.token_shards.format import TokenSettings
from vtok.data.token_shards.memory import Strings
from vtok.errors import ConfigError, LengthError, UnsupportedError, WeightsError
from vtok.generate.base import Generator
from vtok.generate.objectives import TABLE
from vtok.generate.objectives.gpt import GptObjective
from vtok.generate.objectives.maskgit import MaskgitObjective
from vtok.generate.objectives.next_scale import NextScaleObjective
from vtok.generate.objectives.rar import RarObjective
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.spec import TokenSpec
from vtok.train.samples.batch import StringBatch

TRUNK: dict[str, Any] = {"dim": 16, "depth": 2, "heads": 2, "hidden": 16, "dropout": 0.0}
BLOCKS: dict[str, Any] = {"dim": 16, "depth": 2, "heads": 2, "hidden": 16}
STILL: dict[str, Any] = {"dropout": 0.0, "attention_dropout": 0.0}
KINDS: dict[str, tuple[type, dict[str, Any]]] = {
    "gpt": (GptObjective, {"network": {"trunk": TRUNK, "token_dropout": 0.0}}),
    "gpt of two codebooks": (GptObjective, {"network": {"trunk": TRUNK, "head": "autoregressive", "head_depth": 1, "token_dropout": 0.0}}),
    "gpt flattened": (GptObjective, {"network": {"trunk": TRUNK, "head": "flattened", "token_dropout": 0.0}}),
    "bert": (MaskgitObjective, {"network": {"kind": "bert", **BLOCKS, **STILL}}),
    "uvit": (MaskgitObjective, {"network": {"kind": "uvit", **BLOCKS}}),
    "rar": (RarObjective, {"network": {**BLOCKS, **STILL}, "anneal": [5, 10]}),
    "next scale": (NextScaleObjective, {"trunk": TRUNK}),
}
GROWING = [kind for kind in KINDS if kind not in ("bert", "uvit")]
every_kind = pytest.mark.parametrize("kind", KINDS)


def spec_of(kind):
    sizes = (12, 7) if "two" in kind or "flattened" in kind else (12,)
    if kind == "next scale":
        return TokenSpec(sizes, 6, (1, 2, 6), (8, 8), (8, 8), scales=((1, 1), (1, 1), (2, 2)))
    return TokenSpec(sizes, 6, tuple(range(1, 7)), (8, 8), (8, 8))


def strings_of(spec, num=40, *, classes=True):
    """Strings whose tokens follow their class and their first token."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, num)
    first = rng.integers(0, 3, (num, 1, 1))
    ids = (first + labels[:, None, None] * 2 + np.arange(spec.max_tokens)[:, None] % 2) % np.asarray(spec.codebook_sizes)
    settings = TokenSettings(
        source="s", num_shards=1, tokenizer="none", code_digest="0" * 64, spec=spec.to_json(), num_tokens=spec.max_tokens
    )
    own = labels if classes else np.full(num, -1)
    lengths = np.full(num, spec.max_tokens, np.int32)
    return Strings("strings", settings, ids.astype(np.uint8), lengths, own.astype(np.int64), np.zeros(num, bool))


def begun(kind, **settings):
    objective_class, own = KINDS[kind]
    objective = objective_class(objective_class.Config.model_validate(own | settings))
    strings = strings_of(spec_of(kind))
    objective.begin(objective.prepare(strings, torch.Generator().manual_seed(0)), 0)
    return objective, strings


def batch_of(strings, step=0, num=16):
    rows = np.random.default_rng(step).integers(0, len(strings), num)
    ids, lengths, classes = (torch.from_numpy(array[rows].astype(np.int64)) for array in (strings.ids, strings.lengths, strings.classes))
    return StringBatch(ids, lengths, classes, torch.arange(num), step)


def trained(kind, steps=60):
    objective, strings = begun(kind)
    optimizer = torch.optim.AdamW(objective.parameters(), 1e-2)
    losses = []
    for step in range(steps):
        total = torch.stack(list(objective.losses(batch_of(strings, step))["network"].values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    return objective.model.eval(), strings, losses


@pytest.fixture(scope="module")
def generators():
    """One of each kind, trained a little."""
    torch.manual_seed(0)
    return {kind: trained(kind) for kind in KINDS}


@every_kind
def test_training_lessens_the_loss_and_the_bits(generators, kind):
    generator, strings, losses = generators[kind]
    assert np.mean(losses[-10:]) < 0.85 * np.mean(losses[:3])
    batch = batch_of(strings, 99)
    with torch.no_grad():
        bits = generator.bits(batch.ids, batch.classes)
    assert bits.shape == batch.ids.shape[:2]
    assert bits.mean() < 0.8 * sum(map(math.log2, generator.spec.codebook_sizes))


@every_kind
def test_a_string_depends_on_its_seed_alone(generators, kind):
    generator = generators[kind][0]
    classes = torch.tensor([0, 1, 2])
    together = generator.sample(3, classes, seed=5)
    alone = [generator.sample(1, classes[i : i + 1], seed=5 + i) for i in range(3)]
    assert torch.equal(together.ids, torch.cat([own.ids for own in alone]))
    assert not torch.equal(together.ids, generator.sample(3, classes, seed=50).ids)
    assert together.ids.dtype == torch.int64
    assert (together.ids < torch.tensor(generator.spec.codebook_sizes)).all()


@every_kind
def test_shorter_strings_are_the_first_parts_of_longer_ones(generators, kind):
    generator = generators[kind][0]
    classes = torch.tensor([0, 1, 2])
    whole = generator.sample(3, classes, seed=1)
    mixed = generator.sample(3, classes, torch.tensor([2, 6, 1]), seed=1)
    for row, length in enumerate((2, 6, 1)):
        assert torch.equal(mixed.ids[row, :length], whole.ids[row, :length])
        assert not mixed.ids[row, length:].any()
    assert mixed.lengths.tolist() == [2, 6, 1]


@pytest.mark.parametrize("kind", GROWING)
def test_strings_go_on_from_a_prefix(generators, kind):
    generator = generators[kind][0]
    classes = torch.tensor([0, 1, 2])
    prefix = generator.sample(3, classes, seed=1).ids[:, :2]
    found = generator.sample(3, classes, seed=9, prefix=prefix)
    assert torch.equal(found.ids[:, :2], prefix)
    alone = generator.sample(1, classes[1:2], seed=10, prefix=prefix[1:2])
    assert torch.equal(found.ids[1:2], alone.ids)
    with pytest.raises(LengthError, match="leaves nothing to generate"):
        generator.sample(3, classes, 2, prefix=prefix)
    with pytest.raises(ConfigError, match="a prefix is"):
        generator.sample(3, classes, prefix=prefix[:2])
    with pytest.raises(ConfigError, match="a prefix has ids of codebooks"):
        generator.sample(3, classes, prefix=prefix + 20)


@pytest.mark.parametrize("kind", ["bert", "uvit"])
def test_masked_strings_have_no_beginning(generators, kind):
    with pytest.raises(UnsupportedError, match="cannot go on from the first ones"):
        generators[kind][0].sample(1, prefix=torch.zeros(1, 2, 1, dtype=torch.int64))


def test_half_a_scale_is_no_beginning(generators):
    with pytest.raises(UnsupportedError, match="3 tokens are no whole scales, which have 1, 1, 4"):
        generators["next scale"][0].sample(1, prefix=torch.zeros(1, 3, 1, dtype=torch.int64))


@every_kind
def test_guidance_changes_what_is_drawn(generators, kind):
    generator = generators[kind][0]
    classes = torch.arange(3).repeat(6)
    free = generator.sample(18, classes, options=generator.changed(generator.Options(), {"guidance": 0.0}))
    guided = generator.sample(18, classes, options=generator.changed(generator.Options(), {"guidance": 6.0}))
    assert not torch.equal(free.ids, guided.ids)


@every_kind
def test_what_cannot_be_drawn_is_refused(generators, kind):
    generator = generators[kind][0]
    with pytest.raises(UnsupportedError, match="class 3 asked, this generator knows 0 to 2"):
        generator.sample(1, torch.tensor([3]))
    with pytest.raises(UnsupportedError, match="takes classes"):
        generator.sample(2, torch.tensor([1]))
    with pytest.raises(LengthError, match="7 tokens do not decode"):
        generator.sample(1, None, 7)
    with pytest.raises(ConfigError, match="0 strings asked"):
        generator.sample(0)
    with pytest.raises(ConfigError, match="a seed is 0 or more"):
        generator.sample(1, seed=-1)
    with pytest.raises(UnsupportedError, match="has no colour"):
        generator.changed(generator.Options(), {"colour": 1})


@every_kind
def test_a_saved_generator_draws_the_same(generators, kind, tmp_path):
    generator = generators[kind][0]
    generator.save_pretrained(tmp_path / "generator")
    again = Generator.from_pretrained(tmp_path / "generator")
    classes = torch.tensor([0, 1, 2])
    assert torch.equal(again.sample(3, classes).ids, generator.sample(3, classes).ids)
    assert f"A `{generator.family}` generator for vtok" in (tmp_path / "generator" / "README.md").read_text()


@every_kind
def test_a_tokenizer_with_other_codes_does_not_decode(generators, kind):
    with pytest.raises(WeightsError, match="gives ids another meaning"):
        generators[kind][0].check_tokenizer(LinearTokenizer.tiny(), "tiny")
    with pytest.raises(WeightsError, match="the tokenizer none of this generator cannot be loaded"):
        generators[kind][0].decoder()


@every_kind
def test_each_sample_has_draws_of_its_own(kind):
    """A batch in two parts has the losses of the whole, as with several processes."""
    objective, strings = begun(kind)
    whole = batch_of(strings)
    parts = [
        StringBatch(whole.ids[rows], whole.lengths[rows], whole.classes[rows], whole.indices[rows], 0)
        for rows in (slice(0, 8), slice(8, 16))
    ]
    with torch.no_grad():
        expected = objective.losses(whole)["network"]
        found = [objective.losses(part)["network"] for part in parts]
    for name, value in expected.items():
        if "masked" not in name:  # whose mean is over the masked tokens of a part
            assert float(value) == pytest.approx(float(sum(own[name] for own in found)) / 2, rel=1e-5)


@every_kind
def test_checkpointing_changes_no_gradient(kind):
    found = []
    for again in (False, True):
        objective, strings = begun(kind)
        objective.model.set_gradient_checkpointing(again)
        torch.stack(list(objective.losses(batch_of(strings))["network"].values())).sum().backward()
        found.append([parameter.grad for parameter in objective.parameters() if parameter.grad is not None])
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second)


def test_strings_that_do_not_fit_are_refused():
    short = strings_of(spec_of("gpt"))
    cut = Strings(
        "cut", short.settings.model_copy(update={"num_tokens": 4}), *(getattr(short, n) for n in ("ids", "lengths", "classes", "held_out"))
    )
    from vtok.errors import DataError

    with pytest.raises(DataError, match="run vtok tokenize without --tokens"):
        GptObjective(GptObjective.Config()).prepare(cut, torch.Generator())
    with pytest.raises(DataError, match="40 of 40 strings have no class"):
        GptObjective(GptObjective.Config()).prepare(strings_of(spec_of("gpt"), classes=False), torch.Generator())
    with pytest.raises(ConfigError, match="have no scales"):
        NextScaleObjective(NextScaleObjective.Config()).prepare(short, torch.Generator())
    two = strings_of(spec_of("gpt of two codebooks"))
    for objective in (MaskgitObjective, RarObjective):
        with pytest.raises(ConfigError, match="one codebook a position"):
            objective(objective.Config()).prepare(two, torch.Generator())


def test_all_objectives_are_of_a_kind_known_here():
    assert {f"{own.__module__}:{own.__name__}" for own, _ in KINDS.values()} == set(TABLE.values())
