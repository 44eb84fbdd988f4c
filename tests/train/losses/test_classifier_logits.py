"""Logits of a classifier as a loss, against torchvision's own preprocessing."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vtok.errors import MissingExtraError, WeightsError
from vtok.train.losses.classifier_logits import HUB_FILE, ClassifierLogitsConfig, ClassifierLogitsLoss

torchvision = pytest.importorskip("torchvision", reason="needs the extra `train`")


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights in torchvision's names: pieces of one table, so that the file of 50 million weights is a small one."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in torchvision.models.convnext_small().state_dict().items()}
    table = 0.05 * torch.randn(max(shape.numel() for shape in shapes.values()), generator=torch.Generator().manual_seed(0))
    made = {name: table[: shape.numel()].view(shape) for name, shape in shapes.items()}
    return made | {name: 1 + value for name, value in made.items() if name.endswith("layer_scale")}


@pytest.fixture(scope="module")
def weights_file(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("classifier") / "convnext.pth"
    torch.save(state, file)
    return file


@pytest.fixture(scope="module")
def loss(weights_file: Path) -> ClassifierLogitsLoss:
    return ClassifierLogitsLoss(ClassifierLogitsConfig(weights=str(weights_file)))


@pytest.fixture(scope="module")
def reference(state: dict[str, Tensor]) -> nn.Module:
    """torchvision's network on torchvision's resizing and normalisation."""
    from torchvision.transforms import v2

    with torch.device("meta"):
        network = torchvision.models.convnext_small()
    network.load_state_dict(state, assign=True)
    steps = [v2.Resize((224, 224), antialias=True), v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    return nn.Sequential(*steps, network).eval()


def rand(seed: int, height: int = 40, width: int = 56, num: int = 2) -> Tensor:
    return torch.rand(num, 3, height, width, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_it_is_the_mean_squared_difference_of_a_thousand_logits(loss: ClassifierLogitsLoss, reference: nn.Module) -> None:
    images, pictures = rand(0), rand(1)
    logits = [reference(images), reference(pictures)]
    assert logits[0].shape == (2, 1000)
    assert float(logits[0].std()) > 0.1
    torch.testing.assert_close(loss.target(images)[0], logits[0], rtol=1e-4, atol=1e-4)  # resizing in another order of additions
    torch.testing.assert_close(loss(pictures, loss.target(images)), (logits[0] - logits[1]).square().mean(1), rtol=1e-3, atol=1e-6)


@torch.no_grad()
def test_larger_pictures_are_scaled_down_without_aliases(loss: ClassifierLogitsLoss, reference: nn.Module) -> None:
    stripes = torch.zeros(1, 3, 450, 448)
    stripes[..., ::2] = 1
    torch.testing.assert_close(loss.target(stripes)[0], reference(stripes), rtol=1e-4, atol=1e-4)


def test_gradients_reach_the_pictures_alone(loss: ClassifierLogitsLoss) -> None:
    pictures = rand(1, num=1).requires_grad_()
    target = loss.target(rand(0, num=1).requires_grad_())
    assert not target[0].requires_grad
    loss(pictures, target).sum().backward()
    assert pictures.grad is not None
    assert bool(pictures.grad.any())


def test_autocast_changes_nothing(loss: ClassifierLogitsLoss) -> None:
    with torch.no_grad():
        outside = loss.target(rand(0, num=1))[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = loss.target(rand(0, num=1))[0]
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


def test_the_classifier_is_neither_trained_nor_saved_and_stays_in_eval_mode(loss: ClassifierLogitsLoss) -> None:
    assert list(loss.parameters()) == []
    assert list(loss.state_dict()) == []
    loss.train()
    assert not loss.classifier.network.training


class TestWhereTheWeightsComeFrom:
    def test_torch_hubs_cache_is_looked_into(self, weights_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        cached = tmp_path / "hub" / "checkpoints" / HUB_FILE
        cached.parent.mkdir(parents=True)
        cached.symlink_to(weights_file)
        ClassifierLogitsLoss(ClassifierLogitsConfig())

    def test_nothing_anywhere_says_what_to_put_where(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        words = rf"no file {tmp_path}.*ConvNeXt-Small.*torchvision's {HUB_FILE} there.*`weights`; nothing is downloaded"
        with pytest.raises(WeightsError, match=words):
            ClassifierLogitsLoss(ClassifierLogitsConfig())

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"no file .*absent\.pth"):
            ClassifierLogitsLoss(ClassifierLogitsConfig(weights=str(tmp_path / "absent.pth")))

    @pytest.mark.parametrize("content", [{}, {"features.0.0.0.weight": torch.zeros(2)}])
    def test_another_networks_file_is_refused(self, tmp_path: Path, content: dict[str, Tensor]) -> None:
        save_file(content, tmp_path / "other.safetensors")
        with pytest.raises(WeightsError, match=r"other\.safetensors is no ConvNeXt-Small: ") as error:
            ClassifierLogitsLoss(ClassifierLogitsConfig(weights=str(tmp_path / "other.safetensors")))
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("name", ["damaged.safetensors", "damaged.pth"])
    def test_a_damaged_file_is_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"not weights at all")
        with pytest.raises(WeightsError, match=name):
            ClassifierLogitsLoss(ClassifierLogitsConfig(weights=str(tmp_path / name)))

    def test_code_in_a_pickle_is_never_run(self, tmp_path: Path) -> None:
        torch.save({"features.0.0.0.weight": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
        with pytest.raises(WeightsError, match=r"trap\.pth"):
            ClassifierLogitsLoss(ClassifierLogitsConfig(weights=str(tmp_path / "trap.pth")))
        assert not (tmp_path / "sprung").exists()


class Trap:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_missing_library_is_answered_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vtok\[train\]"'):
        ClassifierLogitsLoss(ClassifierLogitsConfig())
