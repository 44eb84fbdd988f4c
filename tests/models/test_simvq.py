"""Codes of a fixed table times a learned matrix: published values, and that the matrix is all that learns."""

import pytest
import torch

from tests.parity import Stored
from vtok.models.quantizers.estimators import Estimator
from vtok.models.quantizers.simvq import SimVectorQuantizer


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def published(stored: Stored, estimator: Estimator) -> SimVectorQuantizer:
    sizes = stored.config["sizes"]
    quantizer = SimVectorQuantizer(sizes["dim"], sizes["codebook_size"], frozen_dim=sizes["frozen_codebook_dim"], estimator=estimator)
    codes, transform = stored.weights["frozen_codebook"], stored.weights["code_transform.weight"]
    quantizer.load_state_dict({"codes": codes[None], "transform.weight": transform})
    return quantizer


@pytest.mark.parity
@pytest.mark.parametrize("name", ["simvq"])
def test_values_and_gradients_are_those_of_the_published_implementation(name):
    stored = Stored.load(name)
    for case, estimator in {"ste": "straight_through", "rotation": "rotation"}.items():
        quantizer, x = published(stored, estimator), stored.inputs["x"].clone().requires_grad_()
        quantized = quantizer(x)
        loss = sum(quantizer.loss_weights[key] * value for key, value in quantized.losses.items())
        total = loss + (quantized.vectors * stored.inputs["probe"]).sum() / 100
        total.backward()
        stored.check(f"{case}/ids", quantized.ids[..., 0])
        stored.check(f"{case}/quant", quantized.vectors)
        stored.check(f"{case}/commit_loss", loss)
        stored.check(f"{case}/total", total)
        stored.check_gradients(f"{case}/grad/", {"x": x.grad, "code_transform.weight": quantizer.transform.weight.grad})
        evaluated = quantizer.eval()(x)
        stored.check(f"{case}/eval/quant", evaluated.vectors)
        stored.check(f"{case}/eval/loss", sum(quantizer.loss_weights[key] * value for key, value in evaluated.losses.items()))
    stored.check("codebook", quantizer.compared()[0])
    stored.check("decode", quantizer.lookup(quantized.ids))
    assert not stored.unchecked()


def test_the_codes_follow_a_step_in_eval_mode_too():
    quantizer, z = SimVectorQuantizer.tiny().eval(), randn(2, 4, 8)
    before = quantizer(z).vectors
    with torch.no_grad():
        quantizer.transform.weight.mul_(2)
    changed = quantizer(z)
    torch.testing.assert_close(quantizer.lookup(changed.ids), changed.vectors)
    assert not torch.equal(changed.vectors, before)


def test_a_code_that_no_latent_takes_moves_with_the_others():
    quantizer = SimVectorQuantizer.tiny()
    before = quantizer.compared().detach()
    optimizer = torch.optim.SGD(quantizer.parameters(), 0.1)
    quantized = quantizer(randn(1, 1, 8))
    quantized.losses["codebook"].backward()
    optimizer.step()
    moved = (quantizer.compared() - before).abs().sum(2)[0]
    assert len(quantized.ids.unique()) == 1
    assert bool((moved > 0).all())


def test_the_fixed_table_is_kept_and_takes_no_gradients():
    quantizer = SimVectorQuantizer.tiny()
    assert sorted(quantizer.state_dict()) == ["codes", "transform.weight"]
    assert [name for name, _ in quantizer.named_parameters()] == ["transform.weight"]
    assert quantizer.learned_tables() == ()


def test_soft_choices_are_among_the_transformed_codes():
    quantizer, weights = SimVectorQuantizer.tiny(), randn(2, 3, 16).softmax(2)
    torch.testing.assert_close(quantizer.mix(weights), weights @ quantizer.compared()[0])


def test_without_a_learned_matrix_there_is_no_codebook_loss():
    quantizer = SimVectorQuantizer.tiny().requires_grad_(False)
    assert list(quantizer(randn(1, 2, 8)).losses) == ["commitment"]
