"""LPIPS as a loss (arXiv 1801.03924), with gradients to the pictures."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vtok.eval.pairs.lpips import Lpips, TrunkName
from vtok.train.losses.frozen_network import FrozenNetwork


class LpipsLoss(nn.Module):
    """Distance of pictures from targets whose features were taken once: `loss(pictures, loss.target(images))`.

    Args:
        weights_file, trunk: see `vtok.eval.pairs.lpips.Lpips`.

    Raises:
        MissingExtraError: the `lpips` package is not installed.
        WeightsError: no trunk at hand, or a file that holds none.
    """

    def __init__(self, weights_file: Path | None = None, trunk: TrunkName = "alex"):
        super().__init__()
        self.trunk = FrozenNetwork(Lpips(weights_file, trunk))

    @torch.no_grad()
    def target(self, images: Tensor) -> list[Tensor]:
        """Features of images (B, 3, H, W) in [0, 1], for any number of comparisons; no gradient passes through them.

        Raises:
            UnsupportedError: a side under 31 pixels, 16 with VGG16.
        """
        return self._features(images)

    def forward(self, pictures: Tensor, target: Sequence[Tensor]) -> Tensor:
        """Distance (B,) float32 of pictures (B, 3, H, W) in [0, 1] from a `target`; float32 inside autocast."""
        distances = [(own - other).square().sum((1, 2, 3)) for own, other in zip(self._features(pictures), target, strict=True)]
        return torch.stack(distances).sum(0)

    def _features(self, pictures: Tensor) -> list[Tensor]:
        with torch.autocast(pictures.device.type, enabled=False):
            return self.trunk.network.features(pictures.float())
