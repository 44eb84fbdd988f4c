"""Distance of pictures in what a classifier says of them: the logits of ImageNet's 1000 classes, before the softmax."""

from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vtok.data.files import expand_home
from vtok.data.tensor_file import read_tensors
from vtok.errors import MissingExtraError, WeightsError
from vtok.train.losses.frozen_network import FrozenNetwork

HUB_FILE = "convnext_small-0c510722.pth"  # torchvision's IMAGENET1K_V1
SIDE = 224  # pixels that the classifier was trained on


class ClassifierLogitsConfig(BaseModel):
    """A classifier and where its weights are.

    Args:
        classifier: ConvNeXt-Small (arXiv 2201.03545) as torchvision has it.
        weights: a file of its tensors in torchvision's names, .safetensors or saved by torch; empty takes torchvision's own file in torch
            hub's cache.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    classifier: Literal["convnext_small"] = "convnext_small"
    weights: str = ""


class ClassifierLogitsLoss(nn.Module):
    """Distance of pictures from targets that were classified once: `loss(pictures, loss.target(images))`.

    Raises:
        MissingExtraError: torchvision is not installed.
        WeightsError: weights that are not there, or not this classifier's.
    """

    mean: Tensor  # (1, 3, 1, 1) of ImageNet
    std: Tensor

    def __init__(self, config: ClassifierLogitsConfig):
        super().__init__()
        self.classifier = FrozenNetwork(_convnext_small(config.weights))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    @torch.no_grad()
    def target(self, images: Tensor) -> list[Tensor]:
        """Logits of images (B, 3, H, W) in [0, 1], for any number of comparisons; no gradient passes through them."""
        return [self._logits(images)]

    def forward(self, pictures: Tensor, target: list[Tensor]) -> Tensor:
        """Mean squared difference (B,) of the logits of pictures (B, 3, H, W) in [0, 1] from a `target`; float32 inside autocast."""
        return (self._logits(pictures) - target[0]).square().mean(1)

    def _logits(self, pictures: Tensor) -> Tensor:
        """(B, 1000) of pictures squeezed into the classifier's square."""
        with torch.autocast(pictures.device.type, enabled=False):
            squares = interpolate(pictures.float(), (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
            logits: Tensor = self.classifier.network((squares - self.mean) / self.std)
        return logits


def _convnext_small(weights: str) -> nn.Module:
    try:
        from torchvision.models import convnext_small
    except ImportError as error:
        raise MissingExtraError(f'the logits loss needs a library that is not installed ({error}): pip install "vtok[train]"') from None
    file = expand_home(weights) if weights else Path(torch.hub.get_dir()) / "checkpoints" / HUB_FILE
    if not file.is_file():
        raise WeightsError(
            f"no file {file}: the logits loss needs ConvNeXt-Small's weights; put torchvision's {HUB_FILE} there, "
            "or name another file in `weights`; nothing is downloaded"
        )
    with torch.device("meta"):
        network: nn.Module = convnext_small()
    try:
        network.load_state_dict({name: value.float() for name, value in read_tensors(file).items()}, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"{file} is no ConvNeXt-Small: {str(error).splitlines()[-1].strip()[:200]}") from None
    return network
