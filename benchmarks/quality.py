"""PSNR, SSIM and LPIPS of many pictures against one original, whose LPIPS features are computed once."""

import numpy as np
import torch

from benchmarks.record import Row
from vtok.data.eight_bit import from_eight_bit
from vtok.eval.pairs.lpips import Lpips
from vtok.eval.pairs.psnr import psnr
from vtok.eval.pairs.ssim import ssim


class Original:
    """What decoded pictures are compared with.

    Args:
        pixels: (H, W, 3) uint8.
        lpips: None leaves LPIPS out.
    """

    def __init__(self, pixels: np.ndarray, lpips: Lpips | None):
        self.pixels = pixels
        self._lpips = lpips
        self._features = self._features_of(pixels)

    def figures(self, decoded: np.ndarray) -> Row:
        """`psnr` in dB, `ssim` and, where asked for, `lpips` of a picture (H, W, 3) uint8."""
        row = {"psnr": round(psnr(self.pixels, decoded), 4), "ssim": round(ssim(self.pixels, decoded), 5)}
        if self._lpips is not None:
            pairs = zip(self._features, self._features_of(decoded), strict=True)
            row["lpips"] = round(sum(float((own - other).square().sum()) for own, other in pairs), 5)
        return row

    @torch.no_grad()
    def _features_of(self, pixels: np.ndarray) -> list[torch.Tensor]:
        return [] if self._lpips is None else self._lpips.features(from_eight_bit(pixels))
