"""What every registered quantizer promises, at its `tiny` size."""

from importlib import import_module

import pytest
import torch
from torch import Tensor

from tests.threads import threads
from vtok.errors import MissingExtraError
from vtok.models.quantizers import Quantizer
from vtok.models.quantizers.registry import QUANTIZERS

NUM_LATENTS = (16, 4, 1)  # the first that a quantizer takes


@pytest.fixture(params=QUANTIZERS)
def quantizer(request: pytest.FixtureRequest) -> Quantizer:
    module, _, name = QUANTIZERS[request.param].partition(":")
    try:
        made = getattr(import_module(module), name).tiny()
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert isinstance(made, Quantizer)
    return made.eval()


def num_latents(quantizer: Quantizer) -> int:
    for count in NUM_LATENTS:
        try:
            quantizer.num_positions(count)
        except ValueError:
            continue
        return count
    raise ValueError(f"takes none of {NUM_LATENTS} latents")


def middle_length(quantizer: Quantizer) -> int:
    """A length that `lookup` takes, about half of a string."""
    lengths = quantizer.prefix_lengths(num_latents(quantizer))
    return lengths[max(0, len(lengths) // 2 - 1)]


def latents(quantizer: Quantizer, count: int = 64) -> Tensor:
    """Random latents (count, N, D), seeded."""
    assert isinstance(quantizer.dim, int)
    return torch.randn(count, num_latents(quantizer), quantizer.dim, generator=torch.Generator().manual_seed(1))


def test_vectors_and_ids_have_the_promised_shapes(quantizer: Quantizer) -> None:
    z = latents(quantizer)
    quantized = quantizer(z)
    assert quantized.vectors.shape == z.shape
    assert quantized.vectors.dtype == torch.float32
    assert quantized.ids.shape == (len(z), quantizer.num_positions(z.shape[1]), len(quantizer.codebook_sizes))


def test_ids_are_int64_in_the_range_of_their_codebook(quantizer: Quantizer) -> None:
    ids = quantizer(latents(quantizer)).ids
    assert ids.dtype == torch.int64
    assert bool((ids >= 0).all())
    assert bool((ids < torch.tensor(quantizer.codebook_sizes)).all())


def test_more_than_one_code_is_used(quantizer: Quantizer) -> None:
    assert len(quantizer(latents(quantizer)).ids.unique()) > 1


def test_losses_are_finite_scalars_by_name(quantizer: Quantizer) -> None:
    for value in quantizer(latents(quantizer)).losses.values():
        assert value.shape == ()
        assert bool(value.isfinite())


@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
def test_losses_of_training_are_finite_and_have_a_weight(quantizer: Quantizer, size: float) -> None:
    z = (size * latents(quantizer, 8)).requires_grad_()
    quantized = quantizer.train()(z)
    assert set(quantized.losses) <= set(quantizer.loss_weights)
    assert all(value.shape == () and bool(value.isfinite()) for value in quantized.losses.values())
    torch.stack([quantized.vectors.sum(), *quantized.losses.values()]).sum().backward()
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("scale", [0.0, 1e4])
@pytest.mark.parametrize("constant", [False, True])
def test_losses_and_gradients_are_finite_whatever_the_latents(quantizer: Quantizer, training: bool, scale: float, constant: bool) -> None:
    z = latents(quantizer)
    z = (scale * (torch.ones_like(z) if constant else z)).requires_grad_()
    quantized = quantizer.train(training)(z)
    assert all(bool(value.isfinite()) for value in quantized.losses.values())
    torch.stack([quantized.vectors.mean(), *quantized.losses.values()]).sum().backward()
    assert all(bool(own.grad.isfinite().all()) for own in (z, *quantizer.parameters()) if own.grad is not None)


def test_ids_look_up_to_the_vectors_of_forward(quantizer: Quantizer) -> None:
    quantized = quantizer(latents(quantizer))
    torch.testing.assert_close(quantizer.lookup(quantized.ids), quantized.vectors, rtol=1e-5, atol=1e-5)


def test_the_full_length_is_no_length(quantizer: Quantizer) -> None:
    ids = quantizer(latents(quantizer)).ids
    lengths = torch.full((len(ids),), ids.shape[1])
    assert torch.equal(quantizer.lookup(ids, lengths), quantizer.lookup(ids))


def test_lookup_of_a_prefix_ignores_the_rest(quantizer: Quantizer) -> None:
    ids = quantizer(latents(quantizer)).ids
    n = middle_length(quantizer)
    lengths = torch.full((len(ids),), n)
    changed = ids.clone()
    changed[:, n:] = (changed[:, n:] + 1) % torch.tensor(quantizer.codebook_sizes)
    assert torch.equal(quantizer.lookup(ids, lengths), quantizer.lookup(changed, lengths))


def test_each_string_is_looked_up_at_its_own_length(quantizer: Quantizer) -> None:
    ids = quantizer(latents(quantizer, 2)).ids
    n = middle_length(quantizer)
    if n == ids.shape[1]:
        pytest.skip("these strings have no prefixes")
    mixed = quantizer.lookup(ids, torch.tensor([n, ids.shape[1]]))
    torch.testing.assert_close(mixed[:1], quantizer.lookup(ids[:1], torch.tensor([n])), rtol=1e-5, atol=1e-6)  # convolutions differ
    torch.testing.assert_close(mixed[1:], quantizer.lookup(ids[1:]), rtol=1e-5, atol=1e-6)


def test_ids_do_not_depend_on_the_batch(quantizer: Quantizer) -> None:
    z = latents(quantizer)
    assert torch.equal(quantizer(z).ids, torch.cat([quantizer(part).ids for part in torch.split(z, 5)]))


def test_ids_do_not_depend_on_the_number_of_threads(quantizer: Quantizer) -> None:
    z = latents(quantizer)
    with threads(1):
        one = quantizer(z).ids
    with threads(2):
        two = quantizer(z).ids
    assert torch.equal(one, two)


def test_autocast_changes_nothing(quantizer: Quantizer) -> None:
    z = latents(quantizer)
    outside = quantizer(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = quantizer(z)
        looked_up = quantizer.lookup(outside.ids)
    assert inside.vectors.dtype == looked_up.dtype == torch.float32
    assert torch.equal(outside.ids, inside.ids)
    assert torch.equal(outside.vectors, inside.vectors)
    assert torch.equal(quantizer.lookup(outside.ids), looked_up)


def test_bfloat16_latents_are_quantised_in_float32(quantizer: Quantizer) -> None:
    z = latents(quantizer).bfloat16()
    half, single = quantizer(z), quantizer(z.float())
    assert half.vectors.dtype == torch.float32
    assert torch.equal(half.ids, single.ids)


def test_eval_mode_changes_no_state_and_draws_no_numbers(quantizer: Quantizer) -> None:
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    drawn = torch.get_rng_state()
    quantizer.lookup(quantizer(latents(quantizer)).ids)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(before[name], value) for name, value in quantizer.state_dict().items())


def test_latents_given_are_left_as_they_are(quantizer: Quantizer) -> None:
    z = latents(quantizer)
    before = z.clone()
    quantizer(z)
    assert torch.equal(z, before)


def test_gradients_pass_to_the_latents(quantizer: Quantizer) -> None:
    z = latents(quantizer).requires_grad_()
    quantizer(z).vectors.sum().backward()
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())
