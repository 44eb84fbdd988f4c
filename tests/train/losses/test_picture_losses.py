"""The losses of pictures together: which are taken, their weights, their names."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.train.config import check
from vtok.train.losses import picture_losses
from vtok.train.losses.picture_losses import PictureLossConfig, PictureLosses
from vtok.train.losses.pixel import PIXEL_LOSSES
from vtok.train.losses.timm_features import TimmFeaturesConfig

NONE = dict.fromkeys([*PIXEL_LOSSES, "lpips"], 0)


class Brightness(nn.Module):
    """Stands for a network: the squared difference of the mean brightness."""

    def __init__(self, config: TimmFeaturesConfig | None = None):  # noqa: ARG002 - LPIPS has none
        super().__init__()
        self.calls = 0

    def target(self, images: Tensor) -> list[Tensor]:
        self.calls += 1
        return [images.mean((1, 2, 3))]

    def forward(self, pictures: Tensor, target: list[Tensor]) -> Tensor:
        return (pictures.mean((1, 2, 3)) - target[0]).square()


@pytest.fixture(autouse=True)
def no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_losses, "LpipsLoss", Brightness)
    monkeypatch.setattr(picture_losses, "TimmFeatureLoss", Brightness)


def losses(**weights: Any) -> PictureLosses:
    return PictureLosses(check(PictureLossConfig, NONE | weights, "pictures"))


def rand(seed: int) -> Tensor:
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_a_loss_of_pixels_is_its_weighted_mean(name: str) -> None:
    own = losses(**{name: 3})
    found = own(rand(0), own.target(rand(1)))
    assert list(found) == [name]
    torch.testing.assert_close(found[name], 3 * PIXEL_LOSSES[name](rand(0), rand(1)).mean())


def test_losses_of_networks_come_with_their_weights_by_name() -> None:
    own = losses(l2=1, lpips=2, features=[{"backbone": "one", "weight": 3}, {"backbone": "two", "weight": 5}])
    found = own(rand(0), own.target(rand(1)))
    expected = (rand(0).mean((1, 2, 3)) - rand(1).mean((1, 2, 3))).square().mean()
    assert set(found) == {"l2", "lpips", "features_0", "features_1"}
    for name, weight in {"lpips": 2, "features_0": 3, "features_1": 5}.items():
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
    network = own.networks["lpips"]
    assert isinstance(network, Brightness)
    assert network.calls == 1


def test_networks_move_with_the_losses() -> None:
    own = losses(lpips=1, features=[{"backbone": "one"}])
    assert set(own.networks.values()) <= set(own.modules())


@pytest.mark.parametrize(("weights", "words"), [({}, "at least one loss"), ({"l2": -1}, "l2"), ({"features": [{"weight": 1}]}, "backbone")])
def test_weights_that_make_no_loss_are_refused(weights: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        losses(**weights)
