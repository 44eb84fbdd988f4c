"""Groups of numbers with codebooks of their own: published values, draws in training, codes that come back to use."""

import math

import pytest
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import one_hot

from tests.parity import Stored
from vtok.errors import ConfigError
from vtok.models.quantizers.multi_codebook import MultiCodebookQuantizer


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["multi_codebook_pq"])
def test_choices_are_those_of_the_published_implementation(name: str) -> None:
    stored = Stored.load(name)
    sizes = stored.config["sizes"]
    quantizer = MultiCodebookQuantizer(sizes["channels"], sizes["k"], sizes["m"]).eval()
    with torch.no_grad():
        quantizer.codes.copy_(stored.weights["codebook"])
    z = rearrange(stored.inputs["x"], "b c h w -> b (h w) c")
    ids = quantizer(z).ids

    def as_stored(values: Tensor) -> Tensor:
        return rearrange(values, "b (h w) m ... -> b m h w ...", h=sizes["height"])

    def as_image(vectors: Tensor) -> Tensor:
        return rearrange(vectors, "b (h w) c -> b c h w", h=sizes["height"])

    stored.check("ids", as_stored(ids))
    stored.check("quant", as_image(quantizer.lookup(ids)))
    stored.check("quant_from_onehot", as_image(quantizer.mix(one_hot(ids, sizes["k"]))))
    squares = z.unflatten(2, (sizes["m"], -1)).square().sum(-1, keepdim=True)  # the same for all codes: ours leave them out
    stored.check("distance", as_stored(squares - math.sqrt(sizes["k"]) * quantizer.logits(z)))
    with torch.no_grad():
        quantizer.temperatures.copy_(stored.weights["temperature"].flatten())
    factor = quantizer.temperatures[:, None].clamp(min=1e-6) / math.sqrt(sizes["k"])
    stored.check("logit_before_noise", as_stored(quantizer.logits(z) - squares * factor))
    assert not stored.unchecked()


def test_the_nearest_code_of_each_group_is_taken() -> None:
    quantizer, z = MultiCodebookQuantizer.tiny().eval(), randn(6, 5, 8, seed=1)
    for group, ids in enumerate(quantizer(z).ids.unbind(2)):
        distances = torch.cdist(z[..., 4 * group : 4 * group + 4].double(), quantizer.codes[group].double())
        assert torch.equal(ids, distances.argmin(2))


def test_a_choice_in_training_is_hard_and_of_the_ids_returned() -> None:
    quantizer = MultiCodebookQuantizer.tiny().train()
    quantized = quantizer(randn(4, 6, 8), seeded())
    torch.testing.assert_close(quantized.vectors, quantizer.lookup(quantized.ids))


def test_all_codes_and_temperatures_take_gradients_in_training() -> None:
    quantizer, z = MultiCodebookQuantizer.tiny().train(), randn(4, 6, 8).requires_grad_()
    quantizer(z, seeded()).vectors.square().sum().backward()
    assert quantizer.codes.grad is not None
    assert quantizer.temperatures.grad is not None
    assert z.grad is not None
    assert bool(quantizer.codes.grad.abs().sum(2).all())
    assert bool(quantizer.temperatures.grad.all())
    assert bool(z.grad.any())


def test_draws_come_from_the_generator_alone() -> None:
    quantizer, z = MultiCodebookQuantizer.tiny().train(), randn(4, 6, 8)
    state = torch.get_rng_state()
    first = quantizer(z, seeded(3)).ids
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, quantizer(z, seeded(3)).ids)
    assert not torch.equal(first, quantizer(z, seeded(4)).ids)


def test_near_codes_are_drawn_as_often_as_the_softmax_says() -> None:
    quantizer = MultiCodebookQuantizer(2, 4, 1).train()
    quantizer.frequencies.zero_()  # none is left out
    with torch.no_grad():
        quantizer.temperatures.fill_(2.0)
    z = randn(1, 1, 2)
    drawn = quantizer(z.expand(1, 20_000, 2), seeded()).ids.flatten().bincount(minlength=4) / 20_000
    torch.testing.assert_close(drawn, quantizer.logits(z)[0, 0, 0].detach().softmax(0), rtol=0, atol=0.015)


def test_a_code_that_is_always_drawn_is_left_out() -> None:
    quantizer, z = MultiCodebookQuantizer.tiny().train(), randn(1, 50, 8)
    quantizer.frequencies.copy_(one_hot(torch.tensor([3, 5]), 16))
    ids = quantizer(z, seeded()).ids
    assert not bool((ids == torch.tensor([3, 5])).any())


def test_the_fewer_codes_are_in_use_the_more_are_left_out() -> None:
    quantizer = MultiCodebookQuantizer.tiny()
    all_in_use = quantizer._reluctance()
    quantizer.frequencies[:, 4:] = 0
    torch.testing.assert_close(all_in_use, torch.ones(2, 1))
    torch.testing.assert_close(quantizer._reluctance(), torch.full((2, 1), 4 - 3 / 16))


def test_frequencies_are_running_shares_of_what_was_drawn() -> None:
    quantizer = MultiCodebookQuantizer.tiny()
    ids = torch.tensor([[[0, 1]], [[0, 2]], [[3, 2]], [[0, 2]]])
    quantizer.update(ids, decay=0.9)
    torch.testing.assert_close(quantizer.frequencies[0, 0].item(), 0.9 / 16 + 0.1 * 0.75)
    torch.testing.assert_close(quantizer.frequencies[1, 2].item(), 0.9 / 16 + 0.1 * 0.75)
    torch.testing.assert_close(quantizer.frequencies.sum(1), torch.ones(2))


def drawn_by(frequencies: list[float]) -> tuple[MultiCodebookQuantizer, Tensor, Tensor]:
    """One group with codes used so often; after an update that takes nothing in: the quantizer, codes before, codes replaced."""
    quantizer = MultiCodebookQuantizer(2, len(frequencies), 1)
    quantizer.frequencies.copy_(torch.tensor(frequencies))
    before = quantizer.codes[0].detach().clone()
    replaced = quantizer.update(torch.zeros(1, 1, 1, dtype=torch.int64), decay=1.0)
    return quantizer, before, replaced[0]


def test_dead_codes_become_copies_of_the_most_used() -> None:
    quantizer, before, replaced = drawn_by([0.1, 0.0, 0.5, 0.3, 0.0, 0.1])
    assert replaced.nonzero().flatten().tolist() == [1, 4]
    codes = quantizer.codes[0].detach()
    assert torch.equal(codes[[1, 4]], before[[2, 3]])
    assert torch.equal(codes[~replaced], before[~replaced])
    torch.testing.assert_close(quantizer.frequencies[0], torch.tensor([0.1, 0.25, 0.25, 0.15, 0.15, 0.1]))


def test_of_many_dead_codes_half_are_replaced() -> None:
    quantizer, before, replaced = drawn_by([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.75, 0.25])
    assert replaced.sum() == 3
    copies = quantizer.codes[0].detach()[replaced]
    assert torch.equal(copies, before[[6, 7, 6]])
    torch.testing.assert_close(quantizer.frequencies.sum(), torch.tensor(1.0))


def test_where_all_are_in_use_nothing_is_replaced() -> None:
    _, _, replaced = drawn_by([0.25, 0.25, 0.25, 0.25])
    assert not bool(replaced.any())


def test_training_lowers_the_error() -> None:
    quantizer, z = MultiCodebookQuantizer.tiny().train(), randn(16, 8, 8, seed=1)
    before = (quantizer.eval()(z).vectors - z).square().mean()
    optimizer, draws = torch.optim.Adam(quantizer.parameters(), 0.02), seeded()
    for _ in range(100):
        quantized = quantizer.train()(z, draws)
        optimizer.zero_grad()
        (quantized.vectors - z).square().mean().backward()
        optimizer.step()
        quantizer.update(quantized.ids)
    assert (quantizer.eval()(z).vectors - z).square().mean() < 0.85 * before


def test_groups_of_unequal_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="8 numbers do not make 3 groups"):
        MultiCodebookQuantizer(8, 4, 3)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("size", [0.0, 1e4])
def test_constant_and_huge_latents_are_coded_without_nan(mode: bool, size: float) -> None:
    quantizer, z = MultiCodebookQuantizer.tiny().train(mode), torch.full((2, 3, 8), size, requires_grad=True)
    quantized = quantizer(z)
    quantized.vectors.sum().backward()
    assert bool(quantized.vectors.isfinite().all())
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())
