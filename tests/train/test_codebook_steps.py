"""A quantizer's losses by weight, and its tables through the steps of a run."""

import copy

import pytest
import torch

from vtok.errors import ConfigError
from vtok.models.quantizers.codebook_training import CodebookTrainingConfig
from vtok.models.quantizers.dead_codes import RevivalConfig
from vtok.models.quantizers.fsq import FiniteScalarQuantizer
from vtok.models.quantizers.vq import VectorQuantizer
from vtok.train.codebook_steps import CodebookSteps


def latents() -> torch.Tensor:
    return torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))


def test_losses_are_weighted_as_published_unless_told_otherwise() -> None:
    quantizer = VectorQuantizer.tiny()
    quantized = quantizer(latents())
    weighted = CodebookSteps(quantizer, CodebookTrainingConfig(codebook=2)).losses(latents(), quantized)
    assert weighted == {"commitment": 0.25 * quantized.losses["commitment"], "codebook": 2 * quantized.losses["codebook"]}


def test_a_weight_of_a_loss_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"vq\.entropy weighs a loss that this quantizer does not have; its losses: none"):
        CodebookSteps(FiniteScalarQuantizer.tiny(), CodebookTrainingConfig(entropy=0.1))


def test_a_quantizer_without_tables_has_nothing_to_do_after_a_step() -> None:
    quantizer = FiniteScalarQuantizer.tiny()
    steps = CodebookSteps(quantizer, CodebookTrainingConfig())
    z = torch.randn(2, 4, 3)
    assert steps.losses(z, quantizer(z)) == {}
    steps.after_step(quantizer, copy.deepcopy(quantizer), torch.Generator())


def test_replaced_codes_go_into_the_averaged_copy_and_others_do_not() -> None:
    quantizer = VectorQuantizer.tiny()
    quantizer.codes.data[0, 8:] += 100  # out of reach
    averaged = copy.deepcopy(quantizer)
    steps = CodebookSteps(quantizer, CodebookTrainingConfig(revival=RevivalConfig(window=0.01)))
    steps.losses(latents(), quantizer(latents()))
    quantizer.codes.data[0, :8] += 1e-3  # as an update of gradients would
    steps.after_step(quantizer, averaged, torch.Generator().manual_seed(0))
    replaced = quantizer.codes[0, :, 0] == averaged.codes[0, :, 0]
    assert 0 < int(replaced.sum()) < 16
    assert bool((averaged.codes[0, replaced].abs() < 50).all())
