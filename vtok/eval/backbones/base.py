"""What a frozen network that measures pictures is."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.eval.backbones.resizing import RESIZES
from vtok.eval.backbones.weight_file import digest

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class InputRule:
    """What is done to pictures with values from 0 to 255: brought to a square whatever their shape, then `(x - mean) / std`.

    Args:
        resize: a name of `RESIZES`; None takes pictures as they are.
        side: of the square in pixels; None with them as they are.
        mean, std: of red, green and blue.
    """

    resize: str | None
    side: int | None
    mean: Channels
    std: Channels

    def __call__(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) float to what the network takes, (B, 3, side, side) float32."""
        if self.resize is not None and self.side is not None:
            images = RESIZES[self.resize](images, self.side)
        mean, std = (images.new_tensor(channels)[:, None, None] for channels in (self.mean, self.std))
        return (images - mean) / std


class Backbone(nn.Module):
    """A frozen network: pictures to features, in float32.

    It is always in eval mode, has no gradients, and computes without autocast and TF32 whatever the settings around it. Subclasses give
    `outputs`.

    Args:
        name: as asked for: "inception", "alex", "efflite0", "dinov2", "clip", or timm's.
        file: of its weights.
        rule: what is done to pictures first.
        dims: widths of its outputs by name; "features" is always there.
        network: with its weights; frozen here.
    """

    def __init__(self, name: str, file: Path, rule: InputRule, dims: Mapping[str, int], network: nn.Module):
        super().__init__()
        self.name = name
        self.file_name = file.name
        self.digest = digest(file)
        self.rule = rule
        self.dims = dict(dims)
        self.network = network.requires_grad_(False)
        self.eval()

    def describe(self) -> dict[str, Any]:
        """All that its numbers depend on, JSON-able; `digest` is the SHA-256 of the weight file."""
        return {
            "name": self.name,
            "file": self.file_name,
            "digest": self.digest,
            "resize": self.rule.resize,
            "side": self.rule.side,
            "mean": list(self.rule.mean),
            "std": list(self.rule.std),
            "dims": self.dims,
        }

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Outputs (B, d) float32 by name, on the network's device.

        Args:
            images: (B, 3, H, W) float from 0 to 255, of any size, on any device.

        Raises:
            ValueError: another shape or type.
            UnsupportedError: too small for a network that takes pictures as they are.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(f"images must be (B, 3, H, W) float from 0 to 255, got {tuple(images.shape)} {images.dtype}")
        device = next(self.parameters()).device
        with torch.no_grad(), exact_float32(device.type):
            outputs = self.outputs(self.rule(images.to(device, torch.float32)))
        return {name: outputs[name].float() for name in self.dims}

    def outputs(self, inputs: Tensor) -> dict[str, Tensor]:
        """Outputs (B, d) by name, of pictures (B, 3, h, w) that the rule has been applied to."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> "Backbone":  # noqa: ARG002 - nn.Module's signature
        """Keep it in eval mode, whatever is asked."""
        return super().train(False)


@contextmanager
def exact_float32(device_type: str) -> Iterator[None]:
    """Compute float32 as such inside, without autocast, TF32 or bfloat16 products; the settings are put back afterwards."""
    backends: Any = torch.backends
    settings = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        for setting, precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision


def unknown(what: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error for a name that is not there, with the nearest of those that are."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return ConfigError(f"no {what} {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
