"""FlexTok's decoder: one token for all missing registers says what each by itself would, and what it says of times and places."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vtok.models.decoders.flow import Condition, FlowDecoder
from vtok.models.dit import Modulations
from vtok.models.transformer import TransformerConfig

SIDE, CHANNELS, PATCH, REGISTERS, DIM = 4, 3, 2, 16, 5
LENGTHS = [16, 5, 1, 0, 7]


def fresh(depth: int = 3) -> FlowDecoder:
    torch.manual_seed(0)
    return FlowDecoder(TransformerConfig(dim=32, depth=depth, heads=2), CHANNELS, PATCH, SIDE, REGISTERS, DIM, max_time=1.0)


def a_decoder(depth: int = 3) -> FlowDecoder:
    """One whose modulations and head, which begin at 0, are random."""
    decoder = fresh(depth)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(0, 0.3 if parameter.ndim < 2 else parameter[0].numel() ** -0.5)
    return decoder.eval()


def given(num: int = len(LENGTHS)) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy maps, strings of vectors, times."""
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(num, CHANNELS, SIDE * PATCH, SIDE * PATCH, generator=generator)
    return maps, torch.randn(num, REGISTERS, DIM, generator=generator), torch.rand(num, generator=generator)


def spelt_out(decoder: FlowDecoder, vectors: Tensor, lengths: Tensor, dropped: Tensor | None = None) -> Condition:
    """All registers, each by itself, those that are missing without a position."""
    tokens = decoder.registers_in(vectors) + decoder.register_positions
    known = torch.arange(REGISTERS) < lengths[:, None]
    tokens = torch.where(known[..., None], tokens, decoder.mask_token)
    if dropped is not None:
        tokens = torch.where(dropped[:, None, None], decoder.null_token, tokens)
    return Condition(tokens, None)


def gradients(decoder: FlowDecoder, velocity: Tensor) -> dict[str, Tensor]:
    """Of all that a loss of the velocity reaches with more than 0."""
    decoder.zero_grad()
    (velocity * torch.randn(velocity.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    found = {name: parameter.grad for name, parameter in decoder.named_parameters()}
    return {name: gradient for name, gradient in found.items() if gradient is not None and gradient.any()}


# --- the merged registers


@pytest.mark.parametrize("lengths", [LENGTHS, [16] * 5, [3] * 5, [0] * 5], ids=str)
@pytest.mark.parametrize("dropped", [None, [False, True, False, False, True], [True] * 5], ids=str)
def test_one_token_for_all_missing_registers_says_what_each_by_itself_would(lengths: list[int], dropped: list[bool] | None) -> None:
    decoder, (maps, vectors, times) = a_decoder(), given()
    told = torch.tensor(lengths), None if dropped is None else torch.tensor(dropped)
    modulations = decoder.modulations(times)
    merged, _ = decoder(maps, modulations, decoder.condition(vectors, *told))
    found = gradients(decoder, merged)
    long, _ = decoder(maps, decoder.modulations(times), spelt_out(decoder, vectors, *told))
    expected = gradients(decoder, long)
    torch.testing.assert_close(merged, long, rtol=1e-5, atol=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-5 * float(expected[name].abs().max()), msg=name)


def test_that_token_has_the_place_of_all_that_are_missing_and_the_last() -> None:
    decoder, (_, vectors, _) = a_decoder(), given()
    condition = decoder.condition(vectors, torch.tensor([5, 5, 2, 1, 0]))
    assert condition.registers.shape == (5, 6, 32)
    assert torch.equal(condition.registers[:, -1], decoder.mask_token.expand(5, -1))
    assert condition.weights is not None
    shares = condition.weights.exp()[:, 0, 0]
    assert shares[2].tolist() == pytest.approx([1, 1, 0, 0, 0, 14])
    torch.testing.assert_close(shares.sum(1), torch.full((5,), 16.0))


def test_whole_strings_have_no_such_token() -> None:
    decoder, (_, vectors, _) = a_decoder(), given()
    condition = decoder.condition(vectors, torch.full((5,), REGISTERS))
    assert condition.registers.shape == (5, REGISTERS, 32)
    assert condition.weights is None


@torch.no_grad()
def test_lengths_of_a_batch_say_what_they_say_alone() -> None:
    decoder, (maps, vectors, times) = a_decoder(), given()
    together, _ = decoder(maps, decoder.modulations(times), decoder.condition(vectors, torch.tensor(LENGTHS)))
    for own, length in enumerate(LENGTHS):
        one = slice(own, own + 1)
        alone = decoder.condition(vectors[one, : max(1, length)], torch.tensor([length]))
        found, _ = decoder(maps[one], decoder.modulations(times[one]), alone)
        torch.testing.assert_close(found, together[one], rtol=0, atol=1e-5)


def test_what_stands_beyond_a_length_means_nothing() -> None:
    decoder, (maps, vectors, times) = a_decoder(), given()
    lengths = torch.tensor([8, 5, 1, 0, 7])
    beyond = torch.arange(REGISTERS) >= lengths[:, None]
    changed = torch.where(beyond[..., None], vectors + 3, vectors).requires_grad_()
    modulations = decoder.modulations(times)
    with torch.no_grad():
        expected, _ = decoder(maps, modulations, decoder.condition(vectors, lengths))
    found, _ = decoder(maps, modulations, decoder.condition(changed, lengths))
    assert torch.equal(found, expected)
    found.square().sum().backward()
    assert changed.grad is not None
    assert torch.equal(changed.grad.any(2), ~beyond)


@torch.no_grad()
def test_no_condition_says_what_strings_say_that_are_all_dropped() -> None:
    decoder, (maps, vectors, times) = a_decoder(), given()
    modulations = decoder.modulations(times)
    alone, _ = decoder(maps, modulations, decoder.no_condition(len(maps)))
    for lengths in (LENGTHS, [16] * 5):
        dropped, _ = decoder(maps, modulations, decoder.condition(vectors, torch.tensor(lengths), torch.ones(5, dtype=torch.bool)))
        torch.testing.assert_close(dropped, alone, rtol=0, atol=1e-5)


@torch.no_grad()
def test_no_condition_is_not_a_string_of_no_tokens() -> None:
    decoder, (maps, vectors, times) = a_decoder(), given()
    modulations = decoder.modulations(times)
    nothing, _ = decoder(maps, modulations, decoder.condition(vectors, torch.zeros(5, dtype=torch.int64)))
    untold, _ = decoder(maps, modulations, decoder.no_condition(len(maps)))
    assert float((nothing - untold).abs().max()) > 0.01


def test_a_dropped_sample_teaches_its_string_nothing() -> None:
    decoder, (maps, vectors, times) = a_decoder(), given()
    vectors.requires_grad_()
    condition = decoder.condition(vectors, torch.tensor(LENGTHS), torch.tensor([True, False, False, False, True]))
    decoder(maps, decoder.modulations(times), condition)[0].square().sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.any(2).sum(1).tolist() == [0, 5, 1, 0, 0]


# --- times


@torch.no_grad()
def test_one_time_for_all_is_each_samples_time() -> None:
    decoder, (maps, vectors, _) = a_decoder(), given()
    condition = decoder.condition(vectors, torch.tensor(LENGTHS))
    of_all, _ = decoder(maps, decoder.modulations(torch.tensor([0.3])), condition)
    of_each, _ = decoder(maps, decoder.modulations(torch.full((5,), 0.3)), condition)
    torch.testing.assert_close(of_all, of_each, rtol=0, atol=1e-5)
    other, _ = decoder(maps, decoder.modulations(torch.tensor([0.4])), condition)
    assert float((of_all - other).abs().max()) > 0.01


@torch.no_grad()
def test_what_times_say_is_picked_by_their_row() -> None:
    decoder = a_decoder()
    together = decoder.modulations(torch.tensor([1.0, 0.5, 0.25]))
    alone = decoder.modulations(torch.tensor([0.5]))
    found = together[1]
    assert isinstance(found, Modulations)
    for own, expected in zip([*found.blocks, found.head], [*alone.blocks, alone.head], strict=True):
        torch.testing.assert_close(own, expected)
    assert [block.shape for block in together.blocks] == [(3, 2, 6, 32)] * 3


@torch.no_grad()
def test_a_solver_gets_the_velocity_of_the_times_that_were_told_before() -> None:
    decoder, (maps, vectors, _) = a_decoder(), given()
    condition = decoder.condition(vectors, torch.tensor(LENGTHS))
    velocity = decoder.at_times([1.0, 0.5])(condition)
    for time in (0.5, 1.0):
        expected, _ = decoder(maps, decoder.modulations(torch.tensor([time])), condition)
        torch.testing.assert_close(velocity(maps, time), expected)
    assert velocity(maps.double().float(), 0.5).dtype == torch.float32


def test_times_are_seen_through_cosines_and_sines_whose_rates_depend_on_the_largest() -> None:
    times = torch.tensor([0.0, 0.5, 1.0])
    waves = fresh().trunk.time.waves(times)
    assert waves.shape == (3, 256)
    torch.testing.assert_close(waves[:, [0, 128]], torch.stack([(1000 * times).cos(), (1000 * times).sin()], 1))
    slowest = 1000 * math.exp(-math.log(256) * 127 / 128)
    torch.testing.assert_close(waves[:, [127, 255]], torch.stack([(slowest * times).cos(), (slowest * times).sin()], 1))
    config = TransformerConfig(dim=32, depth=1, heads=2)
    as_published = FlowDecoder(config, CHANNELS, PATCH, SIDE, REGISTERS, DIM, max_time=1000.0)
    torch.testing.assert_close(as_published.trunk.time.waves(1000 * times), waves, rtol=0, atol=1e-3)  # of angles up to 1000


# --- places


@torch.no_grad()
def test_smaller_maps_take_the_upper_left_positions() -> None:
    decoder, (maps, vectors, times) = a_decoder(depth=0), given()  # without blocks each patch is by itself
    condition, modulations = decoder.condition(vectors, torch.tensor(LENGTHS)), decoder.modulations(times)
    whole, _ = decoder(maps, modulations, condition)
    part, _ = decoder(maps[:, :, : 2 * PATCH, : 3 * PATCH], modulations, condition)
    torch.testing.assert_close(part, whole[:, :, : 2 * PATCH, : 3 * PATCH])


@torch.no_grad()
def test_every_patch_sees_every_patch_and_register() -> None:
    decoder, (maps, vectors, times) = a_decoder(), given()
    modulations, whole = decoder.modulations(times), torch.full((5,), REGISTERS)
    expected, _ = decoder(maps, modulations, decoder.condition(vectors, whole))
    changed = maps.clone()
    changed[:, :, 0, 0] += 1
    others = [decoder(changed, modulations, decoder.condition(vectors, whole))[0]]
    vectors = vectors.clone()
    vectors[:, -1] += 1
    others.append(decoder(maps, modulations, decoder.condition(vectors, whole))[0])
    for other in others:
        assert bool((other != expected).all())


# --- what is noted, and computed again


@torch.no_grad()
@pytest.mark.parametrize("noted", [0, 1, 2])
def test_a_noted_block_is_seen_whole_and_changes_nothing(noted: int) -> None:
    decoder, (maps, vectors, times) = a_decoder(), given()
    modulations, condition = decoder.modulations(times), decoder.condition(vectors, torch.tensor([4, 5, 1, 0, 3]))
    expected, none = decoder(maps, modulations, condition)
    outputs: list[Tensor] = []
    decoder.trunk.blocks[noted].register_forward_hook(lambda _, __, out: outputs.append(out))
    found, seen = decoder(maps, modulations, condition, noted=noted)
    assert none.shape == (5, 0, 32)
    assert seen.shape == (5, SIDE**2 + 6, 32)
    assert outputs[0] is seen
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_blocks_computed_again_give_the_same_gradients() -> None:
    found = []
    for again in (False, True):
        decoder, (maps, vectors, times) = a_decoder(), given()
        decoder.trunk.checkpointing = again
        velocity, seen = decoder(maps, decoder.modulations(times), decoder.condition(vectors, torch.tensor(LENGTHS)), noted=1)
        found.append(gradients(decoder, velocity + seen.square().mean()))
    assert found[0].keys() == set(dict(decoder.named_parameters())) - {"null_token"}
    torch.testing.assert_close(found[1], found[0])


# --- a start


def test_a_fresh_decoder_says_0_and_its_blocks_pass_on_what_they_get() -> None:
    decoder, (maps, vectors, times) = fresh(), given()
    seen: list[tuple[Tensor, Tensor]] = []
    decoder.trunk.blocks[0].register_forward_hook(lambda _, inputs, out: seen.append((inputs[0], out)))
    velocity, _ = decoder(maps, decoder.modulations(times), decoder.condition(vectors, torch.tensor(LENGTHS)))
    assert not velocity.any()
    assert torch.equal(*seen[0])


def test_a_fresh_decoder_begins_as_published() -> None:
    torch.manual_seed(0)
    decoder = FlowDecoder(TransformerConfig(dim=128, depth=1, heads=2), 16, 2, 4, 64, 6, max_time=1.0)
    block: Any = decoder.trunk.blocks[0]
    for table in (decoder.register_positions, decoder.mask_token, decoder.null_token):
        assert float(table.detach().std()) == pytest.approx(0.02, rel=0.2)
    for name, parameter in decoder.named_parameters():
        if name.endswith("bias") or "modulation" in name or "head.out" in name:
            assert not parameter.any(), name
    for matrix in (*block.attention.qkv.weight.chunk(3), *block.mlp.gate_value.weight.chunk(2), decoder.trunk.time.layers[0].weight):
        assert float(matrix.detach().std()) == pytest.approx((2 / sum(matrix.shape)) ** 0.5, rel=0.05)
    assert block.mlp.gate_value.weight.shape == (2 * 341, 128)
    assert isinstance(decoder.trunk.time.layers[1], nn.SiLU)
