"""AlexNet's last convolution: few features, from the file that LPIPS needs anyway."""

from pathlib import Path
from typing import cast

from torch import Tensor

from vtok.eval.backbones.base import Backbone, InputRule
from vtok.eval.pairs.lpips import Lpips, find_trunk

NUM_FEATURES = 256


class AlexBackbone(Backbone):
    """ "features" (B, 256): the last convolution of LPIPS's AlexNet, its mean over places. Pictures are taken at their own size.

    A distance by these features is for trends, where a set has a few hundred pictures or no other weights are at hand; it is not the FID.

    Args:
        weights: as of `vtok.eval.pairs.lpips.Lpips`.

    Raises:
        MissingExtraError, WeightsError: as of `Lpips`.
    """

    def __init__(self, weights: Path | None = None):
        file = find_trunk(weights, "alex")
        rule = InputRule(resize=None, side=None, mean=(0.0,) * 3, std=(255.0,) * 3)  # Lpips has the normalisation itself
        super().__init__("alex", file, rule, {"features": NUM_FEATURES}, Lpips(file, "alex"))

    def outputs(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"features": cast(Lpips, self.network).layers(inputs)[-1].mean((2, 3))}
