"""Differences of pixels, one value for each sample."""

from torch import Tensor

CHARBONNIER_EPS = 1e-3  # differences below it count as squares
LOG_FLOOR = 1e-4  # the mean squared difference at 40 dB


def l1(pictures: Tensor, images: Tensor) -> Tensor:
    """Mean absolute difference (B,) float32 of two (B, ...)."""
    return (pictures.float() - images.float()).abs().flatten(1).mean(1)


def l2(pictures: Tensor, images: Tensor) -> Tensor:
    """Mean squared difference (B,) float32 of two (B, ...)."""
    return (pictures.float() - images.float()).square().flatten(1).mean(1)


def charbonnier(pictures: Tensor, images: Tensor) -> Tensor:
    """Mean of sqrt(d^2 + eps^2) - eps over differences d (arXiv 1710.01992): l1 with a round foot; (B,) float32 of two (B, ...)."""
    roots = ((pictures.float() - images.float()).square() + CHARBONNIER_EPS**2).sqrt()
    return (roots - CHARBONNIER_EPS).flatten(1).mean(1)


def log_l2(pictures: Tensor, images: Tensor) -> Tensor:
    """Natural logarithm of the mean squared difference (B,) float32 of two (B, ...) in [0, 1], floored at that of 40 dB.

    Its mean over samples is the mean PSNR in other units: easy pictures count as much as hard ones, which rule a mean of squares.
    """
    return (l2(pictures, images) + LOG_FLOOR).log()


PIXEL_LOSSES = {"l1": l1, "l2": l2, "charbonnier": charbonnier, "log_l2": log_l2}
