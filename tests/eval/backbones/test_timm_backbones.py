"""Backbones of timm, with random weights in files, and a real classifier where its file is at hand."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate

from vtok.errors import ConfigError, MissingExtraError, WeightsError
from vtok.eval.backbones import timm_backbones
from vtok.eval.backbones.registry import open_backbone
from vtok.eval.backbones.timm_backbones import RECIPES, TimmBackbone
from vtok.eval.backbones.timm_networks import load_at_side, load_timm, timm_names

timm = pytest.importorskip("timm", reason="needs the extra `eval`")

REAL = os.environ.get("VTOK_EFFLITE0_WEIGHTS", "")
IMAGES = torch.randint(0, 256, (2, 3, 40, 56), generator=torch.Generator().manual_seed(0)).float()


def saved(name: str, file: Path, prefix: str = "") -> Path:
    """A file of random weights of a model, and of running statistics that are no zeros and ones."""
    torch.manual_seed(0)
    state = timm.create_model(name).state_dict()
    noisy = {key: value + 0.1 * torch.rand_like(value) if value.is_floating_point() else value for key, value in state.items()}
    tensors = {prefix + key: value.contiguous() for key, value in noisy.items()}
    if file.suffix == ".safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file)
    return file


def patched(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    """Give a recipe a smaller model, or take files of any digest for it."""
    recipe = RECIPES[name]
    file = replace(recipe.file, sha256_prefix="")
    monkeypatch.setattr(timm_backbones, "RECIPES", dict(RECIPES) | {name: replace(recipe, file=file, **changes)})


class TestClassifier:
    def test_tensors_are_taken_in_order_whatever_their_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        patched(monkeypatch, "efflite0")
        file = saved("tf_efficientnet_lite0", tmp_path / "lite.pth", prefix="_other.")
        backbone = open_backbone("efflite0", weights=file)
        outputs = backbone(IMAGES)
        plain = timm.create_model(
            "tf_efficientnet_lite0", checkpoint_path=str(saved("tf_efficientnet_lite0", tmp_path / "timm.pth"))
        ).eval()
        expected = plain(interpolate((IMAGES - 127) / 128, (224, 224), mode="bicubic", antialias=True))
        torch.testing.assert_close(outputs["logits"], expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(plain.get_classifier()(outputs["features"]), expected, atol=1e-4, rtol=1e-4)
        assert backbone.dims == {"features": 1280, "logits": 1000}

    def test_another_network_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        patched(monkeypatch, "efflite0")
        with pytest.raises(WeightsError, match=r"resnet\.pth has \d+ tensors, tf_efficientnet_lite0 has 296"):
            open_backbone("efflite0", weights=saved("test_resnet", tmp_path / "resnet.pth"))

    def test_tensors_of_other_shapes_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        patched(monkeypatch, "efflite0")
        state = torch.load(saved("tf_efficientnet_lite0", tmp_path / "lite.pth"))
        torch.save(dict(reversed(state.items())), tmp_path / "reversed.pth")
        with pytest.raises(WeightsError, match=r"reversed\.pth has other weights: size mismatch"):
            open_backbone("efflite0", weights=tmp_path / "reversed.pth")

    def test_only_the_published_file_is_taken(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"lite\.pth is another file: its SHA-256 begins [0-9a-f]{8}, not 57934424"):
            open_backbone("efflite0", weights=saved("tf_efficientnet_lite0", tmp_path / "lite.pth"))

    @pytest.mark.skipif(not REAL, reason="needs the file that VTOK_EFFLITE0_WEIGHTS names")
    def test_the_published_weights_recognise_photographs(self, shared: Path) -> None:
        backbone = open_backbone("efflite0", weights=Path(REAL))
        synsets = timm.data.ImageNetInfo().label_names()
        files = sorted((shared / "data" / "train" / "imagenet-samples").iterdir())[::25]
        right = sum(int(backbone(photo(file))["logits"].argmax()) == synsets.index(file.name.partition("_")[0]) for file in files)
        assert right > 0.7 * len(files)  # 34 of 39, and 750 of all 967; 785 of central squares as in training


def photo(file: Path) -> Tensor:
    return torch.from_numpy(np.asarray(Image.open(file).convert("RGB")).copy()).permute(2, 0, 1)[None].float()


class TestNamedModels:
    def test_dinov2_gives_the_class_token_after_the_last_norm(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        patched(monkeypatch, "dinov2", model="test_vit", rule=replace(RECIPES["dinov2"].rule, side=160), load=load_timm)
        backbone = open_backbone("dinov2", weights=saved("test_vit", tmp_path / "vit.safetensors"))
        pixels = IMAGES[0].permute(1, 2, 0).byte().numpy()
        small = np.asarray(Image.fromarray(pixels).resize((160, 160), Image.Resampling.BICUBIC)).copy()
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        inputs = ((torch.from_numpy(small) / 255 - mean) / std).permute(2, 0, 1)[None]
        network: Any = backbone.network
        expected = network.forward_features(inputs)[:, 0]
        torch.testing.assert_close(backbone(IMAGES[:1])["features"], expected, atol=1e-4, rtol=1e-4)

    def test_clip_gives_the_projection_at_length_1(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        patched(monkeypatch, "clip", model="test_vit", rule=replace(RECIPES["clip"].rule, side=160))
        backbone = open_backbone("clip", weights=saved("test_vit", tmp_path / "vit.safetensors"))
        features = backbone(IMAGES)["features"]
        torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
        direction = backbone.network(backbone.rule(IMAGES))
        torch.testing.assert_close(features * direction.norm(dim=1, keepdim=True), direction, atol=1e-4, rtol=1e-4)
        assert features.shape[1] == backbone.dims["features"] == 1000

    @pytest.mark.parametrize(("name", "features", "side"), [("dinov2", 1024, 518), ("clip", 768, 336)])
    def test_timm_has_the_models_that_papers_measure_with(self, name: str, features: int, side: int) -> None:
        with torch.device("meta"):
            network = timm.create_model(RECIPES[name].model)
        facts = network.pretrained_cfg
        rule = RECIPES[name].rule
        assert (network.num_classes or network.head_hidden_size, facts["input_size"][-1], network.global_pool) == (features, side, "token")
        assert rule.mean == pytest.approx([255 * fraction for fraction in facts["mean"]])
        assert rule.std == pytest.approx([255 * fraction for fraction in facts["std"]])

    @pytest.mark.parametrize("name", RECIPES)
    def test_a_missing_file_is_named(self, name: str) -> None:
        wanted = RECIPES[name].file
        with pytest.raises(WeightsError, match=rf"{wanted.title} needs its weights.*name a file in {wanted.variable}"):
            open_backbone(name)


class TestPositions:
    def test_a_ramp_of_positions_stays_a_ramp_at_the_places_of_dinov2s_code(self, tmp_path: Path) -> None:
        """A grid of 6.1 cells over 10 puts cell i at (i + 0.5) * 10 / 6.1 - 0.5; one of 6 cells would put cell 4 0.12 further."""
        file = saved("test_vit", tmp_path / "vit.safetensors")
        state = timm.create_model("test_vit", checkpoint_path=str(file)).state_dict()
        ramp = torch.arange(10.0)[:, None].expand(10, 10).reshape(1, 100, 1).expand(1, 100, 64)
        save_file(state | {"pos_embed": torch.cat([torch.full((1, 1, 64), 7.0), ramp], 1)}, file)
        network: Any = load_at_side("test_vit", file, side=96)
        positions = network.pos_embed
        assert torch.equal(positions[:, 0], torch.full((1, 64), 7.0))
        rows = positions[0, 1:, 0].view(6, 6)[1:5, 0]  # those in the middle see no border
        torch.testing.assert_close(rows, (torch.arange(1, 5) + 0.5) * 10 / 6.1 - 0.5, atol=0.06, rtol=0)  # bicubic bends lines by 0.05

    def test_the_smaller_square_goes_through(self, tmp_path: Path) -> None:
        network = load_at_side("test_vit", saved("test_vit", tmp_path / "vit.safetensors"), side=96)
        assert network(torch.zeros(1, 3, 96, 96)).shape == (1, 1000)


class TestAnyModel:
    @pytest.mark.parametrize("name", ["test_resnet.r160_in1k", "test_efficientnet.r160_in1k", "test_convnext"])
    def test_features_are_what_its_classifier_is_given(self, tmp_path: Path, name: str) -> None:
        backbone = open_backbone(name, weights=saved(name.partition(".")[0], tmp_path / "net.safetensors"))
        features = backbone(IMAGES)["features"]
        assert features.shape == (2, backbone.dims["features"])
        network: Any = backbone.network
        direct = network.forward_head(network.forward_features(backbone.rule(IMAGES)), pre_logits=True)
        torch.testing.assert_close(features, direct, atol=1e-4, rtol=1e-4)

    def test_pictures_are_prepared_by_timms_facts(self, tmp_path: Path) -> None:
        rule = open_backbone("test_efficientnet.r160_in1k", weights=saved("test_efficientnet", tmp_path / "net.safetensors")).rule
        assert (rule.resize, rule.side) == ("pil_bicubic", 160)
        assert rule.mean == pytest.approx((123.675, 116.28, 103.53))
        assert rule.std == pytest.approx((58.395, 57.12, 57.375))

    def test_another_rule_for_resizing_can_be_asked_for(self, tmp_path: Path) -> None:
        file = saved("test_resnet", tmp_path / "net.safetensors")
        assert open_backbone("test_resnet", resize="tf1_bilinear", weights=file).describe()["resize"] == "tf1_bilinear"
        with pytest.raises(ConfigError, match="no rule for resizing 'tf1_bilinea'; did you mean tf1_bilinear"):
            open_backbone("test_resnet", resize="tf1_bilinea", weights=file)

    def test_every_filter_that_timm_names_is_there(self) -> None:
        from vtok.eval.backbones.resizing import RESIZES

        filters = {timm.get_pretrained_cfg(name).interpolation for name in timm.list_pretrained()}
        assert {f"pil_{name}" for name in filters} <= set(RESIZES)

    def test_making_one_leaves_torchs_generator_alone(self, tmp_path: Path) -> None:
        file = saved("test_resnet", tmp_path / "net.safetensors")
        torch.manual_seed(1)
        before = torch.get_rng_state()
        open_backbone("test_resnet", weights=file)
        assert torch.equal(torch.get_rng_state(), before)

    def test_without_weights_it_says_where_to_put_them(self) -> None:
        with pytest.raises(
            WeightsError, match=r"^test_resnet\.r160_in1k needs its weights: fetch timm/test_resnet\.r160_in1k into the .* cache"
        ):
            open_backbone("test_resnet.r160_in1k")

    def test_what_the_hubs_cache_has_is_used(self, empty_caches: Path) -> None:
        folder = empty_caches / "hub" / "models--timm--test_resnet.r160_in1k"
        for part in ("refs", "snapshots/abc"):
            (folder / part).mkdir(parents=True)
        (folder / "refs" / "main").write_text("abc")
        saved("test_resnet", folder / "snapshots" / "abc" / "model.safetensors")
        assert open_backbone("test_resnet.r160_in1k").describe()["file"] == "model.safetensors"


class TestWeightsThatAreNotAllThere:
    @pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "mobilenetv3_small_050"])
    def test_a_file_that_lacks_a_tensor_is_refused(self, tmp_path: Path, name: str) -> None:
        """timm would leave random weights in some architectures."""
        file = saved(name, tmp_path / "net.pth")
        state = torch.load(file)
        torch.save(dict(list(state.items())[3:]), file)
        with pytest.raises(WeightsError, match=r"net\.pth"):
            open_backbone(name, weights=file)

    def test_an_architecture_that_decides_itself_still_loads(self, tmp_path: Path) -> None:
        file = saved("mobilenetv3_small_050", tmp_path / "net.pth")
        loaded = open_backbone("mobilenetv3_small_050", weights=file).network.state_dict()
        assert all(torch.equal(value, loaded[name]) for name, value in torch.load(file).items())

    def test_a_damaged_file_is_refused_in_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "net.safetensors").write_bytes(b"not weights at all")
        with pytest.raises(WeightsError, match=r"net\.safetensors: cannot read test_resnet's weights") as caught:
            open_backbone("test_resnet", weights=tmp_path / "net.safetensors")
        assert "\n" not in str(caught.value)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("incepton", "inception"),
            ("eflite0", "efflite0"),
            ("dinov3", "dinov2"),
            ("resnet118", "resnet18"),
            ("resnet18.a1_in1", "resnet18.a1_in1k"),
        ],
    )
    def test_a_name_that_is_none_has_its_nearest_named(self, name: str, nearest: str) -> None:
        with pytest.raises(ConfigError, match=rf"no network '{name}'; did you mean {nearest}\?"):
            open_backbone(name)

    def test_timm_has_no_model_of_our_names(self) -> None:
        assert not {"inception", "alex", *RECIPES} & set(timm_names())

    def test_a_tag_that_timm_lacks_is_refused_where_a_network_is_made_too(self) -> None:
        with pytest.raises(ConfigError, match=r"no model of timm 'resnet18\.none'"):
            TimmBackbone("resnet18.none")

    def test_without_timm_the_install_line_is_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(MissingExtraError, match=r'pip install "vtok\[eval\]"'):
            open_backbone("efflite0")
