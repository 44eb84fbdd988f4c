"""The rules by which published evaluations bring pictures to the square that a network takes; no two of them give the same numbers."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

Resize = Callable[[Tensor, int], Tensor]  # (B, 3, H, W) float from 0 to 255, side -> (B, 3, side, side) float32


def tf1_bilinear(images: Tensor, side: int) -> Tensor:
    """TensorFlow 1's `resize_bilinear`: place i of the result is place i * H / side of the picture, without a shift by half a pixel.

    What the FID graph of 2015 does inside, and with it ADM's evaluator, torch-fidelity and TiTok's evaluator. Computed in float32.
    """
    (upper, lower, down), (left, right, across) = (_tf1_places(length, side, images.device) for length in images.shape[2:])
    values = images.float()
    first, second = values[..., left], values[..., right]
    rows = first + (second - first) * across  # (B, 3, H, side)
    top, bottom = rows[:, :, upper], rows[:, :, lower]
    return top + (bottom - top) * down[:, None]  # (B, 3, side, side)


def torch_resize(images: Tensor, side: int, *, mode: str, antialias: bool) -> Tensor:
    """PyTorch's `interpolate`, between centres of pixels; what bicubic gives beyond 0 and 255 is kept."""
    return interpolate(images.float(), (side, side), mode=mode, align_corners=False, antialias=antialias)


def clean(images: Tensor, side: int) -> Tensor:
    """Pillow's bicubic, antialiased, on each channel in float32, clipped to 0 and 255 and not rounded (clean-fid, arXiv 2104.11222)."""
    channels = images.detach().cpu().float().flatten(0, 1).numpy()  # (3B, H, W)
    resized = np.stack([np.asarray(Image.fromarray(channel).resize((side, side), Image.Resampling.BICUBIC)) for channel in channels])
    return torch.from_numpy(resized).clamp(0, 255).view(-1, 3, side, side).to(images.device)


def pillow(images: Tensor, side: int, *, resampling: Image.Resampling) -> Tensor:
    """A filter of Pillow, antialiased, on 8-bit pixels, which the result is again; values that are no whole numbers are rounded first."""
    pixels = images.detach().clamp(0, 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()  # (B, H, W, 3)
    resized = np.stack([np.asarray(Image.fromarray(picture).resize((side, side), resampling)) for picture in pixels])
    return torch.from_numpy(resized).permute(0, 3, 1, 2).to(images.device, torch.float32)


RESIZES: Mapping[str, Resize] = {
    "tf1_bilinear": tf1_bilinear,
    "torch_bilinear": partial(torch_resize, mode="bilinear", antialias=False),  # pytorch-fid
    "torch_bilinear_antialias": partial(torch_resize, mode="bilinear", antialias=True),  # torchmetrics
    "torch_bicubic_antialias": partial(torch_resize, mode="bicubic", antialias=True),  # CMMD
    "clean": clean,
    "pil_bicubic": partial(pillow, resampling=Image.Resampling.BICUBIC),  # FD-DINOv2
    "pil_bilinear": partial(pillow, resampling=Image.Resampling.BILINEAR),
    "pil_lanczos": partial(pillow, resampling=Image.Resampling.LANCZOS),
    "pil_box": partial(pillow, resampling=Image.Resampling.BOX),
}


def _tf1_places(length: int, side: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each place of the result (side,): the pixel before it, the one after, and how far it is from the first, in float32 throughout."""
    scale = torch.tensor(length, dtype=torch.float32, device=device) / side
    places = torch.arange(side, dtype=torch.float32, device=device) * scale
    before = places.floor()
    return before.long(), (before.long() + 1).clamp(max=length - 1), places - before
