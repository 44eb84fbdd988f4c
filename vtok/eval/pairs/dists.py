"""DISTS (arXiv 2004.07728): structure and texture in VGG16's features, with a trunk and weights that are already on disk."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from vtok.data.tensor_file import read_tensors
from vtok.errors import UnsupportedError, WeightsError
from vtok.eval.backbones.weight_file import WeightFile
from vtok.eval.pairs.lpips import find_trunk

_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))  # torchvision's layers of VGG16
_CHANNELS = (3, 64, 128, 256, 512, 512)  # of the picture and of each stage
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_EPS = 1e-6
MIN_SIDE = 16
WEIGHTS = WeightFile(
    title="DISTS",
    file_names=("dists-weights.pt",),
    size_bytes=12_288,
    sha256_prefix="f5e65c96",
    variable="VTOK_DISTS_WEIGHTS",
    source="weights.pt of the package DISTS-pytorch 0.1",
)


class Dists(nn.Module):
    """The distance of two pictures: 0 for equal ones, and small where only the places of a texture's details differ.

    Args:
        weights_file: `alpha` and `beta`, a weight for each of 1,475 channels; None: see `WEIGHTS`.
        trunk_file: VGG16's convolutions in torchvision's names; None: see `vtok.eval.pairs.lpips.find_trunk`.

    Raises:
        WeightsError: a file that is not there, or holds something else.
    """

    alpha: Tensor  # (1475,), of means; with beta of sum 1
    beta: Tensor  # (1475,), of covariances
    mean: Tensor
    std: Tensor
    window: Tensor  # (1, 1, 3, 3) of the pooling

    def __init__(self, weights_file: Path | None = None, trunk_file: Path | None = None):
        super().__init__()
        self.files = (WEIGHTS.find(weights_file), find_trunk(trunk_file, "vgg"))
        self._fill_channels(self.files[0])
        self.trunk = nn.ParameterDict(_trunk(self.files[1]))
        for name, values in (("mean", _MEAN), ("std", _STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        hann = torch.tensor([0.5, 1.0, 0.5])
        self.register_buffer("window", (hann[:, None] * hann / 4)[None, None], persistent=False)
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Distance (B,) float32 of each of images from its fellow in others, both (B, 3, H, W) float in [0, 1].

        Raises:
            ValueError: shapes that differ.
            UnsupportedError: a side under 16 pixels.
        """
        if images.shape != others.shape or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be two of (B, 3, H, W), got {tuple(images.shape)} and {tuple(others.shape)}")
        return self.compare(self.features(images), self.features(others))

    def features(self, images: Tensor) -> list[Tensor]:
        """The picture and five stages (B, C, h, w) of images (B, 3, H, W) in [0, 1].

        Raises:
            UnsupportedError: a side under 16 pixels.
        """
        if min(images.shape[2:]) < MIN_SIDE:
            raise UnsupportedError(
                f"DISTS takes pictures of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {images.shape[3]} x {images.shape[2]}"
            )
        images = images.to(self.mean.device, torch.float32)
        found, x = [images], (images - self.mean) / self.std
        for number, layers in enumerate(_STAGES):
            x = self._pooled(x) if number else x
            for layer in layers:
                x = relu(conv2d(x, self.trunk[f"{layer}_weight"], self.trunk[f"{layer}_bias"], padding=1))
            found.append(x)
        return found

    def compare(self, own: list[Tensor], other: list[Tensor]) -> Tensor:
        """Distance (B,) float32 of pictures by their `features`."""
        score = own[0].new_zeros(len(own[0]))
        for alpha, beta, x, y in zip(self.alpha.split(_CHANNELS), self.beta.split(_CHANNELS), own, other, strict=True):
            mean_x, mean_y = x.mean((2, 3)), y.mean((2, 3))
            variances = ((z - mean[..., None, None]).square().mean((2, 3)) for z, mean in ((x, mean_x), (y, mean_y)))
            covariance = (x * y).mean((2, 3)) - mean_x * mean_y
            texture = (2 * mean_x * mean_y + _EPS) / (mean_x.square() + mean_y.square() + _EPS)
            structure = (2 * covariance + _EPS) / (sum(variances) + _EPS)
            score += (alpha * texture + beta * structure).sum(1)
        return 1 - score

    def _pooled(self, x: Tensor) -> Tensor:
        """Halved by the root of the windowed mean of squares."""
        channels = x.shape[1]
        means = conv2d(x.square(), self.window.expand(channels, 1, 3, 3), stride=2, padding=1, groups=channels)
        return (means + 1e-12).sqrt()

    def _fill_channels(self, file: Path) -> None:
        weights = read_tensors(file)
        total = sum(_CHANNELS)
        if any(name not in weights or weights[name].numel() != total for name in ("alpha", "beta")):
            raise WeightsError(f"{file} holds no weights of DISTS: expected alpha and beta of {total} numbers")
        alpha, beta = (weights[name].float().flatten() for name in ("alpha", "beta"))
        whole = alpha.sum() + beta.sum()
        self.register_buffer("alpha", alpha / whole)
        self.register_buffer("beta", beta / whole)


def _trunk(file: Path) -> dict[str, Tensor]:
    weights = read_tensors(file)
    kinds = [(layer, kind) for layers in _STAGES for layer in layers for kind in ("weight", "bias")]
    try:
        return {f"{layer}_{kind}": weights[f"features.{layer}.{kind}"].float() for layer, kind in kinds}
    except KeyError as error:
        raise WeightsError(f"{file} is no VGG16 trunk: it has no tensor {error}") from None
