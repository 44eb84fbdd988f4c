"""The averaged copy of the tokenizer."""

import pytest
import torch

from tests.train.toy import ToyTokenizer
from vtok.train.engine.ema import AveragedTokenizer


@pytest.fixture
def live():
    return ToyTokenizer.tiny().requires_grad_(True).train()


def test_it_is_the_weighted_mean_with_a_rising_decay(live):
    ema = AveragedTokenizer(live, 0.15)
    expected = live.encoder.bias.detach().clone().double()
    for step in range(4):
        with torch.no_grad():
            live.encoder.bias.add_(1 + step)
        ema.update(step)
        decay = min(0.15, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * live.encoder.bias.detach().double()
    torch.testing.assert_close(ema.average.encoder.bias.double(), expected, rtol=1e-6, atol=1e-6)


def test_a_decay_of_zero_keeps_the_live_weights(live):
    ema = AveragedTokenizer(live, 0.0)
    with torch.no_grad():
        live.decoder.weight.mul_(3)
    ema.update(0)
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
