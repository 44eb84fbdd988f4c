"""Feature distances on tiny backbones with seeded random weights."""

import sys

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from vtok.errors import ConfigError, MissingExtraError, WeightsError
from vtok.train.losses.timm_features import TimmFeatureLoss, TimmFeaturesConfig

timm = pytest.importorskip("timm", reason="needs the extra `models`")

BACKBONES = ["test_convnext", "test_vit", "test_efficientnet"]


def loss_of(backbone="test_convnext", *, seed=0, **settings):
    torch.manual_seed(seed)
    return TimmFeatureLoss(TimmFeaturesConfig(backbone=backbone, **{"pretrained": False, **settings}))


def randn_pictures(seed=0, side=64):
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("distance", ["cosine", "l2"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_equal_pictures_are_near_and_different_ones_apart(backbone, distance):
    loss = loss_of(backbone, distance=distance)
    target = loss.target(randn_pictures())
    equal, different = loss(randn_pictures(), target), loss(randn_pictures(1), target)
    assert equal.shape == (2,)
    assert equal.dtype == torch.float32
    assert bool((equal.abs() < 1e-6).all())
    assert bool((different > 1e-5).all())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_gradient_step_lowers_the_distance(backbone):
    loss = loss_of(backbone, distance="l2")
    target, pictures = loss.target(randn_pictures(1)), randn_pictures().requires_grad_()
    before = loss(pictures, target)
    (gradient,) = torch.autograd.grad(before.sum(), pictures)
    assert bool((loss(pictures - 0.01 * gradient / gradient.std(), target) < before).all())


def test_the_distance_is_the_mean_over_stages_of_cosines():
    loss = loss_of(stages=(0, -1))
    first, second = (loss.backbone.network((x - 0.5) / 0.5) for x in (randn_pictures(), randn_pictures(1)))  # its mean and std are 0.5
    assert [maps.shape[1] for maps in first] == [24, 64]
    stages = [1 - ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).mean((1, 2)) for a, b in zip(first, second, strict=True)]
    torch.testing.assert_close(loss(randn_pictures(1), loss.target(randn_pictures())), (stages[0] + stages[1]) / 2)


def test_pictures_are_normalised_as_the_backbone_was_trained():
    loss = loss_of("test_efficientnet")
    torch.testing.assert_close(loss.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(loss.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))


@pytest.mark.parametrize(("backbone", "size", "found"), [("test_convnext", 0, 16), ("test_convnext", 96, 24), ("test_vit", 0, 10)])
def test_pictures_are_scaled_to_the_size_asked_or_the_only_one(backbone, size, found):
    assert loss_of(backbone, size=size).target(randn_pictures())[0].shape[2] == found  # steps of 4 pixels; of 16 in 160 x 160


def test_one_seed_gives_one_backbone():
    assert torch.equal(loss_of().target(randn_pictures())[0], loss_of().target(randn_pictures())[0])


def test_the_backbone_is_neither_trained_nor_saved_and_stays_in_eval_mode():
    loss = loss_of("test_efficientnet").train()
    assert list(loss.parameters()) == []
    assert list(loss.state_dict()) == []
    assert not loss.backbone.network.training


def test_distances_are_float32_under_autocast():
    loss = loss_of()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(randn_pictures(1), loss.target(randn_pictures()))
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, loss(randn_pictures(1), loss.target(randn_pictures())), rtol=0.1, atol=0)  # the backbone is bfloat16


class TestWeights:
    def stored(self, folder, ending):
        torch.manual_seed(7)
        state = timm.create_model("test_efficientnet").state_dict()
        file = folder / f"backbone.{ending}"
        if ending == "safetensors":
            save_file(state, file)
        else:
            torch.save(state, file)
        return file

    @pytest.mark.parametrize("ending", ["safetensors", "pth"])
    def test_a_file_of_the_whole_classifier_is_read(self, tmp_path, ending):
        file = self.stored(tmp_path, ending)
        loss = loss_of("test_efficientnet", weights=str(file), pretrained=True, seed=1)
        torch.manual_seed(7)
        whole = timm.create_model("test_efficientnet").state_dict()
        own = loss.backbone.network.model.state_dict()
        assert len(own) > 50
        assert all(torch.equal(value, whole[name]) for name, value in own.items())

    def test_a_file_that_is_not_there_is_named(self, tmp_path):
        with pytest.raises(WeightsError, match=r"no file .*absent\.pth"):
            loss_of(weights=str(tmp_path / "absent.pth"))

    def test_another_backbones_file_is_refused(self, tmp_path):
        with pytest.raises(WeightsError, match=r"lacks \d+ tensors of the backbone, stem\.0\.weight among them"):
            loss_of("test_convnext", weights=str(self.stored(tmp_path, "pth")))

    def test_tensors_of_another_shape_are_refused(self, tmp_path):
        state = timm.create_model("test_convnext").state_dict()
        save_file(state | {"stem.0.weight": torch.zeros(1)}, tmp_path / "wrong.safetensors")
        with pytest.raises(WeightsError, match=r"stem\.0\.weight"):
            loss_of(weights=str(tmp_path / "wrong.safetensors"))

    @pytest.mark.parametrize("name", ["damaged.safetensors", "damaged.pth"])
    @pytest.mark.parametrize("content", [b"", b"not weights at all"])
    def test_a_damaged_file_is_refused(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=name):
            loss_of(weights=str(tmp_path / name))

    @pytest.mark.parametrize("content", [[1, 2], torch.zeros(2), {"stem.0.weight": "none"}])
    def test_a_file_of_something_else_is_refused(self, tmp_path, content):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(WeightsError, match=r"other\.pth"):
            loss_of(weights=str(tmp_path / "other.pth"))

    def test_weights_that_cannot_be_had_say_what_to_do(self, monkeypatch, tmp_path):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(WeightsError, match=r"no weights of test_convnext in timm's cache .*name a file of them in `weights`"):
            loss_of(pretrained=True)


def test_an_unknown_backbone_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="timm has no backbone 'test_convnex'; did you mean test_convnext"):
        loss_of("test_convnex")


def test_a_stage_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"stages \(0, 9\) of test_convnext: .*out of range"):
        loss_of(stages=(0, 9))


def test_a_missing_library_is_answered_with_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vtok\[models\]"'):
        loss_of()


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValidationError, match="distances"):
        TimmFeaturesConfig(backbone="test_vit", distances="l2")
