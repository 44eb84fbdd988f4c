"""Structural similarity at five scales (Wang et al. 2003), as the compression field computes it: the rule of pytorch-msssim."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vtok.errors import UnsupportedError
from vtok.eval.pairs.windows import WINDOW, gaussian_window, similarity

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MIN_SIDE = (WINDOW - 1) * 2 ** (len(_WEIGHTS) - 1) + 1


def ms_ssim_of_batch(images: Tensor, others: Tensor) -> Tensor:
    """Of each of images and its fellow in others: (B,) float64 on their device, 1 for equal pictures.

    Contrast and structure at the first four scales, the whole similarity at the fifth, each to its weight, multiplied for each channel;
    then the mean over channels. Scales are halved by 2 x 2 means; an odd side gets a row of zeros first, which count.

    Args:
        images, others: (B, C, H, W) uint8, or float from 0 to 255.

    Raises:
        UnsupportedError: a side under 161 pixels.
    """
    height, width = images.shape[2:]
    if min(height, width) < MIN_SIDE:
        raise UnsupportedError(f"MS-SSIM takes pictures of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {width} x {height}")
    return torch.stack([_one(*(part.double() for part in pair)) for pair in zip(images, others, strict=True)])


def _one(image: Tensor, other: Tensor) -> Tensor:
    """Of pictures (C, H, W) float64, one at a time since the maps are large."""
    window = gaussian_window(image.device).float().double()  # as the package has it
    product = image.new_ones(len(image))
    for weight in _WEIGHTS[:-1]:
        product = product * similarity(image, other, window)[1].mean((1, 2)).clamp_min(0) ** weight
        padding = [side % 2 for side in image.shape[1:]]
        image, other = (avg_pool2d(part, 2, padding=padding) for part in (image, other))
    whole = similarity(image, other, window)[0].mean((1, 2)).clamp_min(0)
    return (product * whole ** _WEIGHTS[-1]).mean()
