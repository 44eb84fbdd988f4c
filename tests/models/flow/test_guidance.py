"""Guidance: what each rule makes of two velocities, and that none costs nothing."""

import pytest
import torch
from torch import Tensor
from torch.linalg import vector_norm

from vtok.models.flow.guidance import RULES, AdaptiveProjected, Rule, classifier_free, guided

every_rule = pytest.mark.parametrize("rule", RULES)
AXES = (1, 2, 3)
PLAIN = {"momentum": 0.0, "threshold": 0.0, "parallel": 1.0}  # settings without which nothing is adapted


def pair(seed: int = 0, num: int = 3, apart: float = 1.0) -> tuple[Tensor, Tensor]:
    """Velocities with and without a condition, and how far they are from each other."""
    generator = torch.Generator().manual_seed(seed)
    conditional, difference = torch.randn(2, num, 4, 5, 5, generator=generator)
    return conditional, conditional - apart * difference


def along(difference: Tensor, direction: Tensor) -> Tensor:
    """The part of a difference that is parallel to a direction, sample by sample."""
    share = (difference * direction).sum(AXES, keepdim=True) / direction.square().sum(AXES, keepdim=True)
    return share * direction


def never(_: Tensor, __: float) -> Tensor:
    raise AssertionError("asked without a condition")


# --- none


@every_rule
def test_a_scale_of_1_is_no_guidance_to_the_bit_and_asks_for_no_other_velocity(rule: str) -> None:
    conditional, _ = pair()
    velocity = guided(lambda *_: conditional, never, scale=lambda _: 1.0, rule=RULES[rule]())
    assert velocity(torch.zeros(1), 0.5) is conditional


@every_rule
def test_the_scale_is_that_of_the_time(rule: str) -> None:
    conditional, unconditional = pair()
    asked: list[float] = []

    def untold(_: Tensor, time: float) -> Tensor:
        asked.append(time)
        return unconditional

    velocity = guided(lambda *_: conditional, untold, scale=lambda time: 1.0 if time > 0.5 else 3.0, rule=RULES[rule]())
    found = [velocity(torch.zeros(1), time) for time in (1.0, 0.75, 0.5)]
    assert asked == [0.5]
    assert found[0] is found[1] is conditional
    assert torch.equal(found[2], RULES[rule]()(conditional, unconditional, 3.0))


@every_rule
def test_both_velocities_are_those_of_the_same_points_and_time(rule: str) -> None:
    points, told = torch.randn(2, 4, 5, 5), []

    def velocity(x: Tensor, time: float) -> Tensor:
        told.append((x, time))
        return x

    guided(velocity, velocity, scale=lambda _: 2.0, rule=RULES[rule]())(points, 0.25)
    assert [(x is points, time) for x, time in told] == [(True, 0.25)] * 2


@every_rule
def test_a_rule_that_is_asked_for_a_scale_of_1_gives_the_conditional_velocity(rule: str) -> None:
    conditional, unconditional = pair()
    torch.testing.assert_close(RULES[rule]()(conditional, unconditional, 1.0), conditional)


@every_rule
def test_two_velocities_that_agree_are_not_changed(rule: str) -> None:
    conditional, _ = pair()
    assert torch.equal(RULES[rule]()(conditional, conditional, 7.5), conditional)
    assert torch.equal(RULES[rule]()(torch.zeros_like(conditional), torch.zeros_like(conditional), 7.5), torch.zeros_like(conditional))


@every_rule
def test_velocities_given_are_left_as_they_are(rule: str) -> None:
    velocities = pair()
    own: Rule = RULES[rule]()
    for _ in range(2):
        own(*velocities, 7.5)
    assert all(torch.equal(after, before) for after, before in zip(velocities, pair(), strict=True))


# --- the plain difference


def test_the_plain_rule_goes_on_from_without_to_with() -> None:
    conditional, unconditional = pair()
    torch.testing.assert_close(classifier_free(conditional, unconditional, 7.5), conditional + 6.5 * (conditional - unconditional))
    assert torch.equal(classifier_free(conditional, unconditional, 0), unconditional)


# --- the adaptive one


def test_with_nothing_adapted_it_is_the_plain_rule() -> None:
    velocities = pair()
    torch.testing.assert_close(AdaptiveProjected(**PLAIN)(*velocities, 7.5), classifier_free(*velocities, 7.5))


def test_what_is_added_stands_at_a_right_angle_to_the_conditional_velocity() -> None:
    conditional, unconditional = pair()
    added = AdaptiveProjected()(conditional, unconditional, 7.5) - conditional
    cosines = (added * conditional).sum(AXES) / (vector_norm(added, dim=AXES) * vector_norm(conditional, dim=AXES))
    assert float(cosines.abs().max()) < 1e-6
    assert bool((vector_norm(added, dim=AXES) > 1).all())


@pytest.mark.parametrize("parallel", [0.0, 0.3])
def test_a_share_of_the_parallel_part_is_kept(parallel: float) -> None:
    conditional, unconditional = pair()
    difference = conditional - unconditional
    shared = along(difference, conditional)
    found = AdaptiveProjected(**PLAIN | {"parallel": parallel})(conditional, unconditional, 3.0)
    torch.testing.assert_close(found, conditional + 2 * (difference - shared + parallel * shared))


@pytest.mark.parametrize(("apart", "expected"), [(1.0, 2.5), (0.1, None)])
def test_a_difference_is_not_longer_than_the_threshold(apart: float, expected: float | None) -> None:
    conditional, unconditional = pair(apart=apart)
    found = AdaptiveProjected(**PLAIN | {"threshold": 2.5})(conditional, unconditional, 2.0) - conditional
    lengths = vector_norm(conditional - unconditional, dim=AXES)
    assert bool((lengths > 2.5).all()) == (expected is not None)
    torch.testing.assert_close(vector_norm(found, dim=AXES), lengths if expected is None else torch.full((3,), expected))


def test_earlier_differences_are_remembered_before_the_threshold_and_count_ever_less() -> None:
    rule, running = AdaptiveProjected(**PLAIN | {"momentum": -0.5, "threshold": 2.5}), torch.zeros(1)
    for step in range(4):
        conditional, unconditional = pair(seed=step)
        running = conditional - unconditional - 0.5 * running
        shortened = running * (2.5 / vector_norm(running, dim=AXES, keepdim=True)).clamp(max=1)
        torch.testing.assert_close(rule(conditional, unconditional, 3.0), conditional + 2 * shortened)


def test_each_instance_has_a_memory_of_its_own_and_without_momentum_there_is_none() -> None:
    first, other = pair(seed=0), pair(seed=1)
    used = RULES["apg"]()
    used(*first, 3.0)
    assert not torch.equal(used(*other, 3.0), RULES["apg"]()(*other, 3.0))
    forgetful = AdaptiveProjected(momentum=0.0)
    forgetful(*first, 3.0)
    assert torch.equal(forgetful(*other, 3.0), AdaptiveProjected(momentum=0.0)(*other, 3.0))


def test_samples_of_a_batch_do_not_mix() -> None:
    together, steps = AdaptiveProjected(), [pair(seed=0), pair(seed=1, apart=0.1), pair(seed=2, apart=3.0)]
    alone = [AdaptiveProjected() for _ in range(3)]
    for velocities in steps:
        found = together(*velocities, 7.5)
        for own, rule in enumerate(alone):
            conditional, unconditional = (each[own : own + 1] for each in velocities)
            torch.testing.assert_close(found[own : own + 1], rule(conditional, unconditional, 7.5))


@every_rule
def test_a_guided_velocity_has_the_type_of_the_two(rule: str) -> None:
    conditional, unconditional = (each.bfloat16() for each in pair())
    assert RULES[rule]()(conditional, unconditional, 3.0).dtype == torch.bfloat16
