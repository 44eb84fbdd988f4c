"""What a preset makes of pictures before they are measured."""

import torch
from torch import Tensor

from vtok.eval.protocol.presets import Preset
from vtok.eval.protocol.rounding import ROUNDINGS


def rounded(pictures: Tensor, preset: Preset) -> Tensor:
    """Decoded pictures (B, 3, H, W) float in [0, 1] as the preset compares them: uint8, or float32 from 0 to 255 if it does not round."""
    return ROUNDINGS[preset.rounding](pictures)


def originals(pixels: Tensor, preset: Preset) -> Tensor:
    """Pictures of a data set (B, 3, H, W) uint8, likewise: as they are, or where the preset rounds them too, through [0, 1] and back."""
    return rounded(pixels.float() / 255, preset) if preset.rounds_originals else pixels


def as_values(pictures: Tensor) -> Tensor:
    """uint8 or float32 pictures as float32 from 0 to 255, what backbones take."""
    return pictures.to(torch.float32)
