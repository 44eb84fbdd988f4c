"""LPIPS as a loss: the metric's values and gradients, one target for several pictures."""

import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vtok.errors import UnsupportedError, WeightsError
from vtok.eval.pairs.lpips import Lpips
from vtok.train.losses.lpips import LpipsLoss

pytest.importorskip("lpips", reason="needs the extra `train`")

TRUNK = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}


@pytest.fixture(scope="module")
def trunk_file(tmp_path_factory):
    """A trunk of random weights."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for layer, shape in TRUNK.items():
        state[f"features.{layer}.weight"] = torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
        state[f"features.{layer}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    file = tmp_path_factory.mktemp("lpips") / "alex.safetensors"
    save_file(state, file)
    return file


@pytest.fixture(scope="module")
def loss(trunk_file):
    return LpipsLoss(trunk_file)


@pytest.fixture
def images():
    return torch.rand(3, 3, 40, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def pictures():
    return torch.rand(3, 3, 40, 48, generator=torch.Generator().manual_seed(2)).requires_grad_()


def test_values_and_gradients_are_those_of_the_metric(loss, trunk_file, images, pictures):
    own = loss(pictures, loss.target(images))
    assert own.shape == (3,)
    (own_gradient,) = torch.autograd.grad(own.sum(), pictures)
    metric = Lpips(trunk_file)(pictures, images)
    (gradient,) = torch.autograd.grad(metric.sum(), pictures)
    torch.testing.assert_close(own, metric, rtol=1e-5, atol=0)  # sums in another order
    torch.testing.assert_close(own_gradient, gradient, rtol=1e-4, atol=1e-4 * float(gradient.abs().max()))


def test_one_target_serves_several_pictures(loss, images, pictures):
    target = loss.target(images)
    distances = [loss(pictures.detach() * scale, target) for scale in (1, 0.5)]
    assert torch.equal(distances[1], loss(pictures.detach() * 0.5, loss.target(images)))
    assert not torch.equal(*distances)


def test_no_gradient_passes_to_the_target(loss, pictures):
    assert not any(features.requires_grad for features in loss.target(pictures))


def test_autocast_changes_nothing(loss, images, pictures):
    outside = loss(pictures, loss.target(images))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(pictures, loss.target(images))
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


def test_bfloat16_pictures_are_compared_in_float32(loss, images, pictures):
    half = pictures.detach().bfloat16()
    assert torch.equal(loss(half, loss.target(images)), loss(half.float(), loss.target(images)))


def test_the_trunk_is_neither_trained_nor_saved(loss):
    assert list(loss.parameters()) == []
    assert list(loss.state_dict()) == []


def test_the_trunk_moves_with_what_holds_it_and_stays_in_eval_mode(trunk_file):
    loss = LpipsLoss(trunk_file)
    holder = nn.Sequential(loss).train().to("meta")
    assert {weights.device.type for weights in loss.trunk.network.parameters()} == {"meta"}
    assert holder.training
    assert not loss.trunk.network.training


def test_another_trunk_is_looked_through_by_its_name(trunk_file):
    with pytest.raises(WeightsError, match="no VGG16 trunk"):
        LpipsLoss(trunk_file, "vgg")


def test_a_small_picture_is_refused(loss):
    with pytest.raises(UnsupportedError, match="at least 31 x 31"):
        loss.target(torch.zeros(1, 3, 30, 40))


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no file .*alex\.pth"):
        LpipsLoss(tmp_path / "alex.pth")
