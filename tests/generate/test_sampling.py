"""How strings are drawn: each by its own seed, as far as is asked, and what is refused."""

import pytest
import torch

from vtok.errors import ConfigError, LengthError, UnsupportedError
from vtok.generate.autoregressive import Sampling, sample
from vtok.generate.sampling.choose import GREEDY, Choice
from vtok.generate.sampling.guidance import Guidance
from vtok.generate.steps import CachedSteps, WholeSteps
from vtok.models.causal_transformer import CausalConfig
from vtok.models.conditions import CaptionConfig, Captions, ClassConfig, NoConditionConfig
from vtok.models.gpt import Gpt, GptConfig

TRUNK = CausalConfig(dim=32, depth=2, heads=2, hidden=48)
KINDS = {
    "one codebook": {"codebook_sizes": (11,)},
    "parallel": {"codebook_sizes": (11, 7)},
    "autoregressive": {"codebook_sizes": (11, 7), "head": "autoregressive", "head_depth": 1},
    "flattened": {"codebook_sizes": (11, 7), "head": "flattened"},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def built(kind="one codebook", *, shape=(8,), condition=None, **trunk):
    """A small network with random weights, its logits too."""
    torch.manual_seed(0)
    own = TRUNK.model_copy(update=trunk)
    model = Gpt(GptConfig(trunk=own, shape=shape, condition=condition or ClassConfig(num_classes=5), **KINDS[kind]))
    with torch.no_grad():
        for weight in model.head.outs.parameters():
            weight.normal_(std=0.5)
    return model.eval()


@every_kind
@pytest.mark.parametrize("guidance", [Guidance(), Guidance(2.0), Guidance(3.0, "linear", stop=5)])
def test_kept_keys_and_values_change_no_id(kind, guidance):
    model, classes = built(kind, shape=(2, 4)), torch.tensor([0, 3, 4])
    sampling = Sampling(Choice(top_k=6), guidance, seed=3)
    drawn = [sample(model, 3, classes, sampling=sampling, new_steps=steps)[0] for steps in (CachedSteps, WholeSteps)]
    assert torch.equal(*drawn)
    assert drawn[0].shape == (3, 8, len(KINDS[kind]["codebook_sizes"]))


@every_kind
def test_a_string_does_not_depend_on_those_beside_it(kind):
    model, classes = built(kind), torch.tensor([0, 3, 4])
    together, _ = sample(model, 3, classes, sampling=Sampling(guidance=Guidance(1.5), seed=10))
    for i in range(3):
        alone, _ = sample(model, 1, classes[i : i + 1], sampling=Sampling(guidance=Guidance(1.5), seed=10 + i))
        assert torch.equal(alone[0], together[i])


@every_kind
def test_a_shorter_string_is_the_first_part_of_a_longer_one(kind):
    model, classes = built(kind), torch.tensor([1, 1, 2])
    full, _ = sample(model, 3, classes, sampling=Sampling(guidance=Guidance(2.0, "cosine")))
    short, lengths = sample(model, 3, classes, num_tokens=[2, 5, 3], sampling=Sampling(guidance=Guidance(2.0, "cosine")))
    assert lengths.tolist() == [2, 5, 3]
    assert short.shape[1] == 5
    for own, whole, length in zip(short, full, lengths.tolist(), strict=True):
        assert torch.equal(own[:length], whole[:length])
        assert not own[length:].any()


def test_seeds_differ_and_repeat():
    model = built(condition=NoConditionConfig())
    first, again, other = (sample(model, 4, sampling=Sampling(seed=seed))[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first[1:], other[:-1])
    assert not torch.equal(first, other)


def test_captions_stand_before_a_string():
    model = built(condition=CaptionConfig(num_tokens=4, embedding_dim=6))
    words = torch.tensor([[True, True, False, False], [True, True, True, True]])
    captions = Captions.padded(torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0)), words, 4)
    drawn = [
        sample(model, 2, captions, sampling=Sampling(GREEDY, Guidance(2.0)), new_steps=steps)[0] for steps in (CachedSteps, WholeSteps)
    ]
    assert torch.equal(*drawn)


def test_half_precision_gives_numbers():
    model = built().to(torch.bfloat16)
    (logits,) = model(torch.zeros(2, 8, 1, dtype=torch.int64), torch.tensor([0, 1]))
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Choice(top_k=-1), ConfigError, "top_k"),
        (lambda: Choice(temperature=-1.0), ConfigError, "temperature"),
        (lambda: Choice(top_p=0.0), ConfigError, "top_p"),
        (lambda: Guidance(-1.0), ConfigError, "scale of guidance"),
        (lambda: Guidance(2.0, "steep"), ConfigError, "no schedule"),  # type: ignore[arg-type]
        (lambda: Sampling(seed=-1), ConfigError, "seed"),
        (lambda: sample(built(), 1, torch.tensor([0]), num_tokens=9), LengthError, "9 tokens asked"),
        (lambda: sample(built(), 2, torch.tensor([0, 0]), num_tokens=[1, 2, 3]), LengthError, "one for each of 2"),
        (lambda: sample(built(), 1, torch.tensor([5])), UnsupportedError, "class 5 asked, this generator knows 0 to 4"),
        (lambda: sample(built(), 0), ConfigError, "0 strings"),
        (lambda: sample(built("parallel"), 1, None, sampling=Sampling([GREEDY])), ConfigError, "1 choices for 2 codebooks"),
        (
            lambda: sample(
                built(condition=ClassConfig(num_classes=5, null=False)), 1, torch.tensor([0]), sampling=Sampling(guidance=Guidance(2.0))
            ),
            UnsupportedError,
            "cannot be guided",
        ),
        (lambda: sample(built(condition=NoConditionConfig()), 1, torch.tensor([0])), UnsupportedError, "takes no condition"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_training_begins_with_even_chances():
    model = Gpt(GptConfig(trunk=TRUNK, shape=(8,), codebook_sizes=(11,), condition=ClassConfig(num_classes=5)))
    (logits,) = model(torch.zeros(2, 8, 1, dtype=torch.int64), torch.tensor([0, 1]))
    assert not logits.any()


@every_kind
def test_logits_look_at_earlier_positions_alone(kind):
    model, classes = built(kind), torch.tensor([2])
    ids = torch.ones(1, 8, len(KINDS[kind]["codebook_sizes"]), dtype=torch.int64)
    changed = ids.clone()
    changed[:, 5:] = 3
    with torch.no_grad():
        for first, second in zip(model(ids, classes), model(changed, classes), strict=True):
            torch.testing.assert_close(first[:, :5], second[:, :5])
            assert not torch.allclose(first[:, 6:], second[:, 6:])
