"""One step: gradients, groups, clipping, accumulation."""

from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from tests.train.toy import ToyConfig, ToyObjective, ToyTokenizer
from vtok.train.config import OptimizerConfig, TrainConfig
from vtok.train.engine.steps import Stepper
from vtok.train.objective import Group
from vtok.train.samples.batch import Batch


def an_objective(**settings):
    objective = ToyObjective(ToyConfig(**settings))
    torch.manual_seed(0)
    objective.begin(ToyTokenizer.tiny(), seed=0)
    return objective


def a_stepper(objective, **settings):
    return Stepper(objective, TrainConfig(**{"steps": 10, **settings}), Accelerator(cpu=True))


def a_batch(step=0, num=4):
    images = torch.rand(num, 3, 16, 16, generator=torch.Generator().manual_seed(step))
    return Batch(images, None, torch.arange(num), step)


def state(objective):
    return {name: value.clone() for name, value in objective.state_dict().items()}


def changed(objective, before):
    return {name.split(".")[0] for name, value in objective.state_dict().items() if not torch.equal(value, before[name])}


def test_the_figures_are_the_losses_and_the_norms_of_the_groups():
    names, values = a_stepper(an_objective(critic_from=0)).step(0, [a_batch()])
    assert names == ("tokenizer/pixels", "tokenizer/commit", "critic/brightness", "grad_norm/tokenizer", "grad_norm/critic")
    assert values.shape == (5,)
    assert not values.requires_grad


def test_the_norm_is_that_of_the_gradient_before_clipping():
    objective, other = an_objective(), an_objective()
    sum(other.losses(a_batch())["tokenizer"].values()).backward()
    expected = torch.stack([parameter.grad.norm() for parameter in other.model.parameters()]).norm()
    _, values = a_stepper(objective).step(0, [a_batch()])
    torch.testing.assert_close(values[-1], expected.detach())


def test_two_halves_are_the_whole_batch():
    whole, halves = a_stepper(an_objective()), a_stepper(an_objective())
    batch = a_batch()
    parts = [replace(batch, images=batch.images[i : i + 2], indices=batch.indices[i : i + 2]) for i in (0, 2)]
    torch.testing.assert_close(halves.step(0, parts)[1], whole.step(0, [batch])[1], rtol=1e-5, atol=1e-7)
    moments, expected = ([state["exp_avg"] for state in stepper.optimizers[0].state.values()] for stepper in (halves, whole))
    torch.testing.assert_close(moments, expected, rtol=1e-4, atol=1e-7)


def test_a_group_stands_still_before_its_first_step():
    objective = an_objective(critic_from=2)
    stepper = a_stepper(objective)
    for step in range(3):
        before = state(objective)
        names, _ = stepper.step(step, [a_batch(step)])
        assert changed(objective, before) == ({"model"} if step < 2 else {"model", "critic"})
        assert ("grad_norm/critic" in names) == (step == 2)


def test_a_groups_warmup_begins_at_its_first_step():
    stepper = a_stepper(an_objective(critic_from=4))
    rates = [stepper.learning_rate(step, stepper.groups[1]) for step in range(10)]
    assert rates[:4] == [0] * 4
    assert rates[4:7] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2])
    assert rates[9] == pytest.approx(0.05 * 1e-2)


def test_clipping_bounds_the_update_by_plain_descent():
    """Adam's first update has the sign of the gradient only, so the moment is looked at: (1 - beta1) times the clipped gradient."""
    objective = an_objective()
    objective.groups = (replace(objective.groups[0], optimizer=OptimizerConfig(clip=0.25)),)
    stepper = a_stepper(objective)
    _, values = stepper.step(0, [a_batch()])
    assert values[-1] > 0.25
    moments = [state["exp_avg"].norm() for state in stepper.optimizers[0].state.values()]
    assert float(torch.stack(moments).norm()) == pytest.approx(0.1 * 0.25, rel=1e-3)


def test_only_matrices_decay():
    objective = an_objective()
    settings = OptimizerConfig(weight_decay=0.3)
    objective.groups = (replace(objective.groups[0], optimizer=settings),)
    parts = a_stepper(objective).optimizers[0].param_groups
    assert {(part["weight_decay"], parameter.ndim) for part in parts for parameter in part["params"]} == {(0.3, 2), (0.0, 1)}


def test_what_a_group_leaves_out_does_not_decay_either():
    objective = an_objective()
    encoder, decoder = objective.model.encoder, objective.model.decoder
    left_out = [encoder.weight, nn.Parameter(torch.zeros(2, 2))]  # one of its own, one of another group
    objective.groups = (replace(objective.groups[0], optimizer=OptimizerConfig(weight_decay=0.3), undecayed=left_out),)
    parts = a_stepper(objective).optimizers[0].param_groups
    assert [part["weight_decay"] for part in parts] == [0.3, 0.0]
    decayed, plain = ([id(parameter) for parameter in part["params"]] for part in parts)
    assert decayed == [id(decoder.weight)]
    assert plain == [id(parameter) for parameter in (encoder.weight, encoder.bias, decoder.bias)]


def test_bf16_changes_the_losses_a_little():
    _, exact = a_stepper(an_objective()).step(0, [a_batch()])
    _, rounded = a_stepper(an_objective(), precision="bf16").step(0, [a_batch()])
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.01)


def test_weights_stay_in_float32_with_bf16():
    objective = an_objective()
    a_stepper(objective, precision="bf16").step(0, [a_batch()])
    assert {parameter.dtype for parameter in objective.parameters()} == {torch.float32}


def test_the_step_is_compiled_when_asked_for(monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    a_stepper(an_objective())
    assert compiled == []
    objective = an_objective()
    a_stepper(objective, compile=True)
    assert [module.objective for module in compiled] == [objective]


def test_groups_that_share_a_parameter_are_refused():
    objective = an_objective()
    objective.groups += (Group("again", [objective.model.encoder.bias], OptimizerConfig()),)
    with pytest.raises(ValueError, match="tokenizer and again share"):
        a_stepper(objective)


def test_a_parameter_without_a_group_is_refused():
    objective = an_objective()
    objective.forgotten = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"2 parameters .* forgotten"):
        a_stepper(objective)
