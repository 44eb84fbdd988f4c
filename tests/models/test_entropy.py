"""The entropy penalty: its plain form, bounded memory, no infinities."""

import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from vtok.models.quantizers.entropy import SMOOTHING, EntropyConfig, entropy_penalty

CONFIG = EntropyConfig(temperature=0.5, sample_weight=0.7, batch_weight=1.3)


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain(rows: Tensor, codes: Tensor, config: EntropyConfig, offsets: Tensor) -> Tensor:
    logits = (rows @ codes.T + offsets) / config.temperature
    mean = logits.softmax(1).mean(0)
    sample = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
    return config.sample_weight * sample + config.batch_weight * (mean * (mean + SMOOTHING).log()).sum()


@pytest.mark.parametrize("numbers_at_once", [2**22, 7 * 4099, 1], ids=["one-block", "rows-by-seven", "row-by-row"])
def test_value_and_gradients_are_those_of_the_plain_form(numbers_at_once, monkeypatch):
    monkeypatch.setattr("vtok.models.quantizers.choices.NUMBERS_AT_ONCE", numbers_at_once)
    arguments = [randn(30, 4, seed=0), randn(4099, 4, seed=1), randn(4099, seed=2)]
    rows, codes, offsets = (argument.requires_grad_() for argument in arguments)
    exact = [argument.detach().double().requires_grad_() for argument in arguments]  # float32 logarithms of that many codes are off by 1e-6
    value, expected = entropy_penalty(rows, codes, CONFIG, offsets), plain(exact[0], exact[1], CONFIG, exact[2])
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)
    gradients = torch.autograd.grad(value, [rows, codes, offsets])
    for own, other in zip(gradients, torch.autograd.grad(expected, exact), strict=True):
        torch.testing.assert_close(own.double(), other, rtol=1e-4, atol=1e-7)


def test_gradients_are_those_of_finite_differences():
    arguments = [randn(5, 3, seed=0).double(), randn(6, 3, seed=1).double(), randn(6, seed=2).double()]
    for argument in arguments:
        argument.requires_grad_()
    assert torch.autograd.gradcheck(lambda rows, codes, offsets: entropy_penalty(rows, codes, CONFIG, offsets), arguments)


def test_no_offsets_are_zeros():
    rows, codes = randn(5, 3, seed=0), randn(6, 3, seed=1)
    assert torch.equal(entropy_penalty(rows, codes, CONFIG), entropy_penalty(rows, codes, CONFIG, torch.zeros(6)))


@pytest.mark.parametrize("size", [0.0, 1e4, 1e30])
def test_it_is_finite_for_rows_of_any_size(size):
    rows, codes = (size * randn(8, 3, seed=0)).requires_grad_(), randn(6, 3, seed=1).requires_grad_()
    value = entropy_penalty(rows, codes, EntropyConfig())
    value.backward()
    assert bool(value.isfinite())
    assert bool(rows.grad.isfinite().all())
    assert bool(codes.grad.isfinite().all())


def test_memory_is_bounded_where_codes_are_many():
    code = (
        "import resource, torch\n"
        "from vtok.models.quantizers.entropy import EntropyConfig, entropy_penalty\n"
        "torch.set_num_threads(1)\n"
        "def penalise(rows, codes):\n"
        "    rows, codes = torch.randn(rows, 8, requires_grad=True), torch.randn(codes, 8, requires_grad=True)\n"
        "    entropy_penalty(rows, codes, EntropyConfig()).backward()\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = penalise(8, 64)\n"
        "print(penalise(512, 2**18) - before)\n"
    )
    grown = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert grown < 150e6  # the probabilities of all rows over all codes are 537 MB, the plain form holds several times that


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"sample_weight": -1.0}, {"batch_weight": -1.0}, {"weight": 1.0}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        EntropyConfig(**wrong)
