"""A discriminator beside an objective: what each side reaches, when it begins, what it is made of."""

from typing import Any

import pytest
import torch
from torch import Tensor

from vtok.models.discriminators import BlurPoolConfig, PatchConfig
from vtok.train.config import check
from vtok.train.losses.adversary import Adversary, AdversaryConfig

PATCH = {"kind": "patch", "dim": 16, "depth": 1}
DISCRIMINATORS: dict[str, dict[str, Any]] = {
    "patch": PATCH,
    "patch with spectral norm": PATCH | {"norm": "spectral"},
    "blur_pool": {"kind": "blur_pool", "dim": 32, "depth": 1},
}
every_discriminator = pytest.mark.parametrize("discriminator", DISCRIMINATORS)


def an_adversary(**settings: Any) -> Adversary:
    torch.manual_seed(0)
    return Adversary(check(AdversaryConfig, {"discriminator": PATCH} | settings, "adversary"))


def rand(seed: int = 0) -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@every_discriminator
@pytest.mark.parametrize("loss", ["hinge", "non_saturating"])
def test_each_side_of_the_game_reaches_its_own_parameters_alone(discriminator: str, loss: str) -> None:
    adversary = an_adversary(discriminator=DISCRIMINATORS[discriminator], loss=loss, lecam=1.0, warmup_steps=0)
    pictures = rand().requires_grad_()
    felt = adversary.loss_of_pictures(pictures, step=5)
    assert felt is not None
    felt.backward()
    assert pictures.grad is not None
    assert bool(pictures.grad.any())
    assert all(parameter.grad is None for parameter in adversary.parameters())
    pictures.grad = None
    torch.stack(list(adversary.losses_of_discriminator(rand(1), pictures).values())).sum().backward()
    assert pictures.grad is None
    assert all(parameter.grad is not None for parameter in adversary.parameters())


def test_pictures_feel_it_from_the_first_step_and_its_warmup_on() -> None:
    adversary = an_adversary(first_step=3, warmup_steps=2)
    assert [adversary.has_begun(step) for step in (2, 3)] == [False, True]
    assert [adversary.loss_of_pictures(rand(), step) is None for step in (2, 3, 4, 5)] == [True, True, True, False]


def test_the_discriminator_is_not_even_run_before_pictures_feel_it(monkeypatch: pytest.MonkeyPatch) -> None:
    adversary = an_adversary(first_step=3, warmup_steps=0)
    monkeypatch.setattr(adversary.discriminator, "forward", None)
    assert adversary.loss_of_pictures(rand(), 2) is None
    with pytest.raises(TypeError):
        adversary.loss_of_pictures(rand(), 3)


def test_the_weight_is_fixed_whatever_the_gradients_are() -> None:
    adversary = an_adversary(weight=0.3, warmup_steps=0)
    pictures = rand().requires_grad_()
    felt = adversary.loss_of_pictures(pictures, 0)
    assert felt is not None
    torch.testing.assert_close(felt, -0.3 * adversary.discriminator(pictures).mean())
    (gradient,) = torch.autograd.grad(felt, pictures)
    (plain,) = torch.autograd.grad(-adversary.discriminator(pictures).mean(), pictures)
    torch.testing.assert_close(gradient, 0.3 * plain)


def test_pictures_and_images_come_to_the_discriminator_as_they_are() -> None:
    adversary = an_adversary(warmup_steps=0)
    seen: list[Tensor] = []
    adversary.discriminator.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    adversary.loss_of_pictures(rand(), 0)
    adversary.losses_of_discriminator(rand(1), rand())
    for found, expected in zip(seen, (rand(), rand(1), rand()), strict=True):
        assert torch.equal(found, expected)


class TestLeCamInIt:
    def test_it_comes_under_its_name_with_its_weight(self) -> None:
        light, heavy = (an_adversary(lecam=weight).losses_of_discriminator(rand(1), rand()) for weight in (0.1, 0.4))
        assert set(light) == {"real_or_not", "lecam"}
        torch.testing.assert_close(heavy["lecam"], 4 * light["lecam"])
        torch.testing.assert_close(heavy["real_or_not"], light["real_or_not"])
        assert float(light["lecam"].detach()) > 0

    def test_it_is_left_out_by_default_and_leaves_nothing_in_checkpoints(self) -> None:
        adversary = an_adversary()
        assert set(adversary.losses_of_discriminator(rand(1), rand())) == {"real_or_not"}
        adversary.after_step()
        assert all(name.startswith("discriminator.") for name in adversary.state_dict())

    def test_its_means_move_after_a_step_and_are_kept(self) -> None:
        adversary = an_adversary(lecam=0.1, lecam_decay=0.5)
        adversary.losses_of_discriminator(rand(1), rand())
        adversary.after_step()
        state = adversary.state_dict()
        with torch.no_grad():
            torch.testing.assert_close(state["lecam.real"], 0.5 * adversary.discriminator(rand(1)).mean())
            torch.testing.assert_close(state["lecam.fake"], 0.5 * adversary.discriminator(rand()).mean())

    def test_what_pictures_lose_moves_no_mean(self) -> None:
        adversary = an_adversary(lecam=0.1, warmup_steps=0)
        adversary.loss_of_pictures(rand().requires_grad_(), 0)
        adversary.after_step()
        assert float(adversary.state_dict()["lecam.fake"]) == 0


def test_the_default_is_the_patch_discriminator_of_before() -> None:
    assert AdversaryConfig().discriminator == PatchConfig(dim=64, depth=3, norm="group")


def test_the_kind_is_chosen_by_its_name() -> None:
    own = an_adversary(discriminator={"kind": "blur_pool", "dim": 32}).config.discriminator
    assert own == BlurPoolConfig(dim=32, depth=3)
