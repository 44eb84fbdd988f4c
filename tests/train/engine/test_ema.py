"""The averaged copy of the tokenizer."""

import pytest
import torch
from torch import nn

from tests.parity import Stored
from tests.train.toy import ToyTokenizer
from vtok.train.engine.ema import AveragedTokenizer, decay_at


@pytest.fixture
def live():
    return ToyTokenizer.tiny().requires_grad_(True).train()


@pytest.mark.parity
@pytest.mark.parametrize("name", ["titok_schedules"])
def test_the_decays_are_those_of_the_published_implementation(name):
    stored = Stored.load(name)
    sizes = stored.config["sizes"]
    decays = [decay_at(step, sizes["ema_decay"]) for step in range(sizes["updates"])]
    stored.check("ema_decay", torch.tensor(decays, dtype=torch.float64))
    table = sizes["ema_decay_at_update_0999"]
    assert {update: decay_at(int(update) - 1, 0.999) for update in table} == pytest.approx(table)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["titok_schedules"])
def test_averages_and_copies_are_those_of_the_published_implementation(name, live):
    stored = Stored.load(name)
    start, *updates = stored.inputs["params"]
    live.encoder, live.decoder = nn.Embedding.from_pretrained(start.clone(), freeze=False), nn.Embedding.from_pretrained(start.clone())
    ema = AveragedTokenizer(live, stored.config["sizes"]["ema_decay"])
    averaged, copied = [], []
    for step, value in enumerate(updates):
        with torch.no_grad():
            live.encoder.weight.copy_(value)
            live.decoder.weight.copy_(value)
        ema.update(step)
        averaged.append(ema.up_to_date().encoder.weight.clone())
        copied.append(ema.average.decoder.weight.clone())
    stored.check("ema", torch.stack(averaged))
    stored.check("ema_frozen", torch.stack(copied))


def test_after_the_first_step_it_is_the_live_weights(live):
    ema = AveragedTokenizer(live, 0.999)
    with torch.no_grad():
        live.encoder.weight.mul_(3)
    ema.update(0)
    assert torch.equal(ema.average.encoder.weight, live.encoder.weight)


def test_it_is_the_weighted_mean_with_a_rising_decay(live):
    ema = AveragedTokenizer(live, 0.15)
    expected = live.encoder.bias.detach().clone().double()
    for step in range(4):
        with torch.no_grad():
            live.encoder.bias.add_(1 + step)
        ema.update(step)
        decay = min(0.15, (1 + step) / (10 + step)) if step else 0.0
        expected = decay * expected + (1 - decay) * live.encoder.bias.detach().double()
    torch.testing.assert_close(ema.average.encoder.bias.double(), expected, rtol=1e-6, atol=1e-6)


def test_a_decay_of_zero_keeps_the_live_weights(live):
    ema = AveragedTokenizer(live, 0.0)
    with torch.no_grad():
        live.decoder.weight.mul_(3)
    ema.update(1)
    assert torch.equal(ema.average.decoder.weight, live.decoder.weight)


def test_buffers_and_frozen_parameters_follow(live):
    live.decoder.bias.requires_grad_(False)
    ema = AveragedTokenizer(live, 0.999)
    with torch.no_grad():
        live.seen.add_(7)
        live.decoder.bias.add_(5)
    ema.update(0)
    averaged = ema.up_to_date()
    assert torch.equal(averaged.seen, live.seen)
    assert torch.equal(averaged.decoder.bias, live.decoder.bias)


def test_it_is_in_eval_mode_and_without_gradients(live):
    averaged = AveragedTokenizer(live, 0.9).up_to_date()
    assert not averaged.training
    assert not any(parameter.requires_grad for parameter in averaged.parameters())


def test_its_state_comes_back(live):
    ema, other = AveragedTokenizer(live, 0.5), AveragedTokenizer(ToyTokenizer.tiny().requires_grad_(True), 0.5)
    with torch.no_grad():
        live.encoder.weight.add_(1)
    ema.update(0)
    other.load(ema.state())
    assert torch.equal(other.average.encoder.weight, ema.average.encoder.weight)
