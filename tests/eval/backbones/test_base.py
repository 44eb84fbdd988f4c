"""What all backbones have in common."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vtok.eval.backbones.base import Backbone, InputRule, exact_float32, unknown

backends: Any = torch.backends
SETTINGS = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)


class Means(Backbone):
    """The mean of each channel, through a layer that notices training, autocast and settings."""

    def __init__(self, file: Path, resize: str | None = "torch_bilinear"):
        rule = InputRule(resize, 8 if resize else None, (10.0, 20.0, 30.0), (2.0, 4.0, 5.0))
        network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        super().__init__("means", file, rule, {"features": 3}, network)
        self.seen: list[Any] = []

    def outputs(self, inputs: Tensor) -> dict[str, Tensor]:
        self.seen = [inputs, torch.is_autocast_enabled("cpu"), [setting.fp32_precision for setting in SETTINGS], torch.is_grad_enabled()]
        return {"features": self.network(inputs).mean((2, 3)), "others": inputs}


@pytest.fixture
def means(tmp_path: Path) -> Means:
    (tmp_path / "means.pth").write_bytes(b"")
    return Means(tmp_path / "means.pth")


@pytest.fixture
def settings_put_back() -> Iterator[None]:
    before = [setting.fp32_precision for setting in SETTINGS]
    yield
    for setting, precision in zip(SETTINGS, before, strict=True):
        setting.fp32_precision = precision


def test_pictures_are_resized_and_scaled_channel_by_channel(means: Means) -> None:
    means(torch.tensor([10.0, 28.0, 20.0])[None, :, None, None].expand(1, 3, 5, 9))
    assert torch.equal(means.seen[0], torch.tensor([0.0, 2.0, -2.0])[None, :, None, None].expand(1, 3, 8, 8))


def test_without_a_rule_pictures_keep_their_size(tmp_path: Path) -> None:
    (tmp_path / "means.pth").write_bytes(b"")
    means = Means(tmp_path / "means.pth", resize=None)
    means(torch.zeros(1, 3, 5, 9))
    assert means.seen[0].shape == (1, 3, 5, 9)


@pytest.mark.usefixtures("settings_put_back")
def test_it_computes_in_float32_whatever_is_set_and_puts_the_settings_back(means: Means) -> None:
    torch.set_float32_matmul_precision("medium")
    before = [setting.fp32_precision for setting in SETTINGS]
    with torch.autocast("cpu", torch.bfloat16):
        features = means(torch.rand(2, 3, 8, 8, dtype=torch.bfloat16))["features"]
    after = [setting.fp32_precision for setting in SETTINGS]
    torch.set_float32_matmul_precision("highest")
    assert features.dtype == torch.float32
    assert means.seen[1:] == [False, ["ieee"] * 4, False]
    assert "ieee" not in before
    assert after == before


def test_the_settings_are_put_back_after_an_error() -> None:
    before = [setting.fp32_precision for setting in SETTINGS]
    with pytest.raises(KeyError), exact_float32("cpu"):
        raise KeyError
    assert [setting.fp32_precision for setting in SETTINGS] == before
    assert isinstance(torch.backends.cuda.matmul.allow_tf32, bool)  # the older way to ask still works


def test_it_is_frozen_and_stays_in_eval_mode(means: Means) -> None:
    nn.Sequential(means).train()
    assert not any(module.training for module in means.modules())
    assert not any(parameter.requires_grad for parameter in means.parameters())
    state = {name: value.clone() for name, value in means.state_dict().items()}
    means(torch.rand(2, 3, 8, 8))
    assert all(torch.equal(value, state[name]) for name, value in means.state_dict().items())


def test_only_the_outputs_that_it_names_come_out(means: Means) -> None:
    assert set(means(torch.zeros(1, 3, 8, 8))) == {"features"}


@pytest.mark.parametrize("images", [torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)])
def test_anything_but_float_pictures_is_refused(means: Means, images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\) float from 0 to 255"):
        means(images)


def test_a_name_far_from_all_has_no_nearest() -> None:
    assert str(unknown("rule", "zzz", ("clean", "tf1"))) == "no rule 'zzz'"
