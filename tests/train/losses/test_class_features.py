"""What a frozen network says of whole pictures, and the loss that draws vectors to it."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from vtok.errors import ConfigError, MissingExtraError, WeightsError
from vtok.train.losses import class_features
from vtok.train.losses.class_features import ClassFeatureConfig, ClassFeatureLoss, contrast
from vtok.train.losses.class_teacher import ClassTeacher, RandomTeacher, class_teacher


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)


@pytest.fixture
def library() -> Any:
    return pytest.importorskip("transformers", reason="needs the extra `models`")


def small_clip(library: Any) -> Any:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 32}
    return library.CLIPVisionModel(library.CLIPVisionConfig(**sizes))


def small_dinov2(library: Any) -> Any:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 56, "image_size": 224}
    return library.Dinov2Model(library.Dinov2Config(**sizes))


def saved(model: Any, folder: Path) -> Path:
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    model.save_pretrained(folder)
    return folder


def last_block_of(model: Any) -> nn.Module:
    """The last of the blocks, wherever this version of the library has them."""
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == 2]
    return lists[0][-1]


@torch.no_grad()
def test_clips_token_is_that_after_the_last_block_without_a_norm(library: Any, tmp_path: Path) -> None:
    teacher = class_teacher(str(saved(small_clip(library), tmp_path / "clip")))
    assert isinstance(teacher, ClassTeacher)
    teacher.eval()
    seen: list[Any] = []
    last_block_of(teacher.tower).register_forward_hook(lambda _, __, out: seen.append(out[0] if isinstance(out, tuple) else out))
    found = teacher(random(2, 3, 32, 32))
    assert found.shape == (2, teacher.dim) == (2, 32)
    torch.testing.assert_close(found, seen[-1][:, 0])


@torch.no_grad()
def test_dinov2s_token_is_normed(library: Any, tmp_path: Path) -> None:
    teacher = class_teacher(str(saved(small_dinov2(library), tmp_path / "dino")))
    assert isinstance(teacher, ClassTeacher)
    teacher.eval()
    seen: list[Any] = []
    norm = [part for part in teacher.tower.modules() if isinstance(part, nn.LayerNorm)][-1]
    norm.register_forward_hook(lambda _, __, out: seen.append(out))
    found = teacher(random(2, 3, 32, 32))
    torch.testing.assert_close(found, seen[-1][:, 0])


def test_towers_are_shown_the_nearest_pixels_of_224_normed_as_each_was_trained() -> None:
    images = random(2, 3, 32, 32)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    shown = ClassTeacher(nn.Identity(), mean, std, 4).shown(images)
    assert shown.shape == (2, 3, 224, 224)
    torch.testing.assert_close(shown[0, 1, 223, 6], (images[0, 1, 31, 0] - 0.2) / 0.6)


def test_a_random_teacher_is_always_the_same_and_tells_pictures_apart() -> None:
    images = random(3, 3, 32, 32)
    one, other = RandomTeacher()(images), class_teacher("random")(images)
    assert torch.equal(one, other)
    assert one.shape == (3, RandomTeacher.dim)
    assert float((one[0] - one[1]).abs().max()) > 0.1


def test_networks_of_another_kind_are_refused(library: Any, tmp_path: Path) -> None:
    library.ViTConfig().save_pretrained(tmp_path / "vit")
    with pytest.raises(ConfigError, match="is a vit; this loss takes clip or dinov2"):
        class_teacher(str(tmp_path / "vit"))


@pytest.mark.parametrize("damage", ["empty", "no weights", "text", "part"])
def test_a_tower_that_cannot_be_read_is_one_line(library: Any, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    if damage != "empty":
        small_clip(library).config.save_pretrained(folder)
    if damage == "text":
        (folder / "model.safetensors").write_text("no tensors")
    if damage == "part":
        save_file({"some": torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match="clip") as error:
        class_teacher(str(folder))
    assert "\n" not in str(error.value)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without_transformers(monkeypatch)
    with pytest.raises(MissingExtraError, match=r"vtok\[models\]"):
        class_teacher("openai/clip-vit-base-patch16")


def test_the_loss_is_the_cross_entropy_of_whose_features_were_predicted() -> None:
    predicted, wanted = random(4, 6) - 0.5, random(4, 6, seed=1) - 0.5
    likeness = (normalize(predicted, dim=1) @ normalize(wanted, dim=1).T).exp()
    torch.testing.assert_close(contrast(predicted, wanted), -(likeness.diagonal() / likeness.sum(1)).log().mean())


def test_the_loss_lies_between_its_bounds_and_is_0_of_one_picture() -> None:
    own = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert float(contrast(3 * own, own)) == pytest.approx(math.log(1 + math.exp(-2)))
    assert float(contrast(-own, 5 * own)) == pytest.approx(math.log(1 + math.exp(2)))
    assert float(contrast(own[:1], own[1:])) == 0


def test_others_of_all_processes_are_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted, wanted = random(4, 6) - 0.5, random(4, 6, seed=1) - 0.5
    whole = contrast(predicted, wanted)
    monkeypatch.setattr(class_features, "gathered", lambda _: normalize(wanted, dim=1))
    parts = []
    for rank in range(2):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        own = slice(2 * rank, 2 * rank + 2)
        parts.append(contrast(predicted[own], wanted[own]))
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_gradients_reach_the_vectors_and_the_head_but_not_the_teacher() -> None:
    loss = ClassFeatureLoss(ClassFeatureConfig(teacher="random", depth=1, heads=2))
    loss.begin(4, 9, seed=0)
    vectors = random(3, 9, 4).requires_grad_()
    loss(vectors, random(3, 3, 32, 32)).backward()
    assert vectors.grad is not None
    assert all(parameter.grad is not None for parameter in loss.parameters())
    assert all(name.startswith("head.") for name in loss.state_dict())
