"""What a frozen tower says of each place, and the loss of what is told of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cosine_similarity

from tests.train.losses.test_class_features import random, saved
from vtok.errors import ConfigError, WeightsError
from vtok.models.towers import ClipConfig, SiglipConfig, VitaminConfig, build
from vtok.train.losses.tower_features import TowerFeatureConfig, TowerFeatureLoss, cosine_distance
from vtok.train.losses.tower_teacher import RandomTeacher, tower_teacher

SIDE = 32
CLIP = ClipConfig(dim=32, depth=2, heads=2, patch_size=8, side=4)
SIGLIP = SiglipConfig(dim=32, depth=2, heads=2, hidden=48, patch_size=8)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture
def library() -> Any:
    return pytest.importorskip("transformers", reason="needs the extra `models`")


def clip_of(library: Any) -> Any:
    sizes = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8}
    return library.CLIPVisionModelWithProjection(library.CLIPVisionConfig(**sizes, image_size=SIDE, projection_dim=12))


def siglip_of(library: Any) -> Any:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2, "patch_size": 8}
    return library.SiglipVisionModel(library.SiglipVisionConfig(**sizes, image_size=SIDE))


def normed(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


@torch.no_grad()
def test_clip_says_the_projections_of_its_normed_patches(library: Any, tmp_path: Path) -> None:
    theirs = clip_of(library).eval()
    folder = saved(theirs, tmp_path / "clip")
    teacher = tower_teacher(str(folder), CLIP, SIDE).eval()
    images = random(2, 3, SIDE, SIDE)
    found = teacher(images)
    out = theirs.vision_model(normed(images, CLIP_MEAN, CLIP_STD))
    expected = theirs.visual_projection(theirs.vision_model.post_layernorm(out.last_hidden_state[:, 1:]))
    assert found.shape == (2, 16, teacher.dim) == (2, 16, 12)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_siglip_says_what_comes_out_of_its_last_block_but_one(library: Any, tmp_path: Path) -> None:
    theirs = siglip_of(library).eval()
    teacher = tower_teacher(str(saved(theirs, tmp_path / "siglip")), SIGLIP, SIDE).eval()
    images = random(2, 3, SIDE, SIDE)
    expected = theirs(2 * images - 1, output_hidden_states=True).hidden_states[-2]
    found = teacher(images)
    assert found.shape == (2, 16, teacher.dim) == (2, 16, 32)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_random_teacher_is_always_the_same_and_tells_places_apart() -> None:
    images = random(3, 3, SIDE, SIDE)
    one, other = RandomTeacher(4, 10)(images), RandomTeacher(4, 10)(images)
    assert torch.equal(one, other)
    assert one.shape == (3, 16, 10)
    moved = RandomTeacher(4, 10)(images.roll(8, 3))  # a patch to the right
    torch.testing.assert_close(moved.unflatten(1, (4, 4)), one.unflatten(1, (4, 4)).roll(1, 2))


def test_the_distance_is_0_of_the_same_direction_and_2_of_the_opposite() -> None:
    features = random(2, 5, 6) - 0.5
    assert float(cosine_distance(3 * features, features)) == pytest.approx(0, abs=1e-6)
    assert float(cosine_distance(-features, features)) == pytest.approx(2)
    other = random(2, 5, 6, seed=1) - 0.5
    torch.testing.assert_close(cosine_distance(features, other), (1 - cosine_similarity(features, other, dim=2)).mean())
    assert bool(cosine_distance(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)).isfinite())


def test_the_distance_is_float32_inside_of_autocast() -> None:
    features, other = random(2, 5, 6).bfloat16(), random(2, 5, 6, seed=1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = cosine_distance(features, other)
    assert found.dtype == torch.float32
    assert torch.equal(found, cosine_distance(features.float(), other.float()))


def test_gradients_reach_what_is_told_and_not_the_teacher(library: Any, tmp_path: Path) -> None:
    folder = str(saved(clip_of(library), tmp_path / "clip"))
    loss = TowerFeatureLoss(TowerFeatureConfig(teacher=folder, weight=0.25), CLIP, SIDE, 12)
    told, images = random(2, 16, 12).requires_grad_(), random(2, 3, SIDE, SIDE)
    found = loss(told, images)
    torch.testing.assert_close(found, 0.25 * cosine_distance(told, loss.teacher.network(images)))
    found.backward()
    assert told.grad is not None
    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}
    assert not any(parameter.requires_grad for parameter in loss.teacher.network.parameters())


def test_another_number_of_features_is_refused(library: Any, tmp_path: Path) -> None:
    folder = str(saved(clip_of(library), tmp_path / "clip"))
    with pytest.raises(ConfigError, match=r"says 12 numbers of a place, semantic_decoder\.out_dim is 13"):
        TowerFeatureLoss(TowerFeatureConfig(teacher=folder), CLIP, SIDE, 13)


@pytest.mark.parametrize(
    "config",
    [CLIP.model_copy(update={"depth": 3}), CLIP.model_copy(update={"dim": 48}), CLIP.model_copy(update={"side": 5})],
)
def test_a_tower_of_other_sizes_is_refused(library: Any, tmp_path: Path, config: ClipConfig) -> None:
    folder = str(saved(clip_of(library), tmp_path / "clip"))
    with pytest.raises(WeightsError, match="is of other sizes than the model's") as error:
        tower_teacher(folder, config, SIDE)
    assert folder in str(error.value)


def test_a_tower_of_another_kind_is_refused(library: Any, tmp_path: Path) -> None:
    folder = str(saved(siglip_of(library), tmp_path / "siglip"))
    with pytest.raises(ConfigError, match=r"is a siglip.*takes clip"):
        tower_teacher(folder, CLIP, SIDE)


def test_a_missing_tower_says_where_it_is_looked_for(library: Any, tmp_path: Path) -> None:  # noqa: ARG001 - the library is needed
    with pytest.raises(WeightsError, match="no tower") as error:
        tower_teacher(str(tmp_path / "none"), CLIP, SIDE)
    assert "\n" not in str(error.value)


def test_a_vitamin_is_taken_from_a_file_of_its_tensors(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="needs the extra `models`")
    config, file = VitaminConfig(name="vitamin_small_224"), tmp_path / "vitamin.safetensors"
    state = build(config, 64).state_dict()
    named = {f"visual.trunk.{name.removeprefix('model.')}": value.contiguous() for name, value in state.items()}
    save_file(named | {"logit_scale": torch.ones(1)}, file)
    teacher = tower_teacher(str(file), config, 64)
    assert all(torch.equal(value, state[name]) for name, value in teacher.tower.state_dict().items())
    with pytest.raises(WeightsError, match=r"no file .*none\.safetensors: the weights of vitamin_small_224 belong there"):
        tower_teacher(str(tmp_path / "none.safetensors"), config, 64)
    save_file({"some": torch.zeros(1)}, file)
    with pytest.raises(WeightsError, match="of other sizes"):
        tower_teacher(str(file), config, 64)
