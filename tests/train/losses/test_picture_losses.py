"""The losses of pictures together: which are taken, their weights, their names."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.train.config import check
from vtok.train.losses import picture_losses
from vtok.train.losses.picture_losses import NetworkTerm, PictureLossConfig, PictureLosses
from vtok.train.losses.pixel import PIXEL_LOSSES

NONE = dict.fromkeys([*PIXEL_LOSSES, "lpips"], 0)


class Brightness(nn.Module):
    """Stands for a network: the squared difference of the mean brightness."""

    def __init__(self, *settings: Any, **named: Any):
        super().__init__()
        self.settings = (*settings, *named.values())
        self.calls = 0

    def target(self, images: Tensor) -> list[Tensor]:
        self.calls += 1
        return [images.mean((1, 2, 3))]

    def forward(self, pictures: Tensor, target: list[Tensor]) -> Tensor:
        return (pictures.mean((1, 2, 3)) - target[0]).square()


@pytest.fixture(autouse=True)
def no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LpipsLoss", "TimmFeatureLoss", "ClassifierLogitsLoss"):
        monkeypatch.setattr(picture_losses, name, Brightness)


def config(**weights: Any) -> PictureLossConfig:
    return check(PictureLossConfig, NONE | weights, "pictures")


def losses(**weights: Any) -> PictureLosses:
    return PictureLosses(config(**weights))


def stand_in(own: PictureLosses, name: str) -> Brightness:
    network = own.terms[name].network
    assert isinstance(network, Brightness)
    return network


def rand(seed: int) -> Tensor:
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_a_loss_of_pixels_is_its_weighted_mean(name: str) -> None:
    own = losses(**{name: 3})
    found = own(rand(0), own.target(rand(1)))
    assert list(found) == [name]
    torch.testing.assert_close(found[name], 3 * PIXEL_LOSSES[name](rand(0), rand(1)).mean())


def test_losses_of_networks_come_with_their_weights_by_name() -> None:
    features = [{"backbone": "one", "weight": 3}, {"backbone": "two", "weight": 5}]
    own = losses(l2=1, lpips=2, features=features, logits={"weight": 7})
    found = own(rand(0), own.target(rand(1)))
    expected = (rand(0).mean((1, 2, 3)) - rand(1).mean((1, 2, 3))).square().mean()
    assert set(found) == {"l2", "lpips", "features_0", "features_1", "logits"}
    for name, weight in {"lpips": 2, "features_0": 3, "features_1": 5, "logits": 7}.items():
        torch.testing.assert_close(found[name], weight * expected)


def test_a_share_lessens_what_networks_say_of_a_picture_and_nothing_else() -> None:
    own = losses(l2=1, lpips=2)
    shares = torch.tensor([0.25, 1.0, 0.0, 0.5])
    found = own(rand(0), own.target(rand(1)), shares)
    each = (rand(0).mean((1, 2, 3)) - rand(1).mean((1, 2, 3))).square()
    torch.testing.assert_close(found["lpips"], 2 * (shares * each).mean())
    torch.testing.assert_close(found["l2"], (rand(0) - rand(1)).square().mean())


def test_what_networks_see_in_the_images_is_taken_once_for_all_comparisons() -> None:
    own = losses(lpips=1)
    target = own.target(rand(1))
    for seed in (2, 3):
        own(rand(seed), target)
    assert stand_in(own, "lpips").calls == 1


def test_networks_move_with_the_losses() -> None:
    own = losses(lpips=1, features=[{"backbone": "one"}], logits={})
    assert len(own.terms) == 3
    assert {term.network for term in own.terms.values()} <= set(own.modules())


def test_lpips_looks_through_the_trunk_that_is_named() -> None:
    assert [stand_in(losses(lpips=1, lpips_trunk=trunk), "lpips").settings for trunk in ("alex", "vgg")] == [("alex",), ("vgg",)]
    assert stand_in(losses(lpips=1), "lpips").settings == ("alex",)


def test_a_published_mixture_is_the_same_sum_of_plain_weights() -> None:
    w, a, b = 1.1, 1.0, 0.1
    own = losses(lpips=w * a / (a + b), logits={"weight": w * b / (a + b)})
    found = own(rand(0), own.target(rand(1)))
    each = (rand(0).mean((1, 2, 3)) - rand(1).mean((1, 2, 3))).square().mean()
    torch.testing.assert_close(found["lpips"] + found["logits"], w * (a * each + b * each) / (a + b))


def test_a_network_of_the_callers_own_comes_under_its_name_with_its_weight() -> None:
    own = PictureLosses(config(l2=1), {"brightness": NetworkTerm(Brightness(), 3)})
    found = own(rand(0), own.target(rand(1)), torch.tensor([0.5, 1, 0, 1]))
    each = (rand(0).mean((1, 2, 3)) - rand(1).mean((1, 2, 3))).square()
    assert set(found) == {"l2", "brightness"}
    torch.testing.assert_close(found["brightness"], 3 * (torch.tensor([0.5, 1, 0, 1]) * each).mean())
    assert own.terms["brightness"].network in set(own.modules())


def test_a_network_need_not_be_a_module() -> None:
    class Nothing:
        def target(self, images: Tensor) -> list[Tensor]:
            return [images]

        def __call__(self, pictures: Tensor, target: list[Tensor], /) -> Tensor:
            return (pictures - target[0]).flatten(1).sum(1)

    own = PictureLosses(config(l2=1), {"nothing": NetworkTerm(Nothing(), 1)})
    assert float(own(rand(0), own.target(rand(0)))["nothing"]) == 0


@pytest.mark.parametrize("name", ["l2", "l1", "lpips"])
def test_a_name_that_is_taken_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"there is a loss {name} already"):
        PictureLosses(config(lpips=1), {name: NetworkTerm(Brightness(), 1)})


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({}, "at least one loss"),
        ({"l2": -1}, "l2"),
        ({"features": [{"weight": 1}]}, "backbone"),
        ({"logits": {"weight": 0}}, "logits"),
        ({"lpips_trunk": "vgg19"}, "lpips_trunk"),
    ],
)
def test_weights_that_make_no_loss_are_refused(weights: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        losses(**weights)
