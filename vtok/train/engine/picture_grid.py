"""Some pictures beside what is left of them at a few lengths, as one picture."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vtok.data.eight_bit import to_eight_bit
from vtok.tokenizers.latents import AnyTokenizer
from vtok.tokenizers.spec import LatentSpec, TokenSpec
from vtok.train.engine.validation import prefixes

LENGTHS = (1, 4, 16)
_GAP, _HEAD = 4, 16  # pixels
_PAPER, _INK = (247, 247, 247), (24, 24, 24)


@torch.no_grad()
def picture_grid(tokenizer: AnyTokenizer, images: Tensor) -> np.ndarray:
    """One row a picture: itself, then 1, 4, 16 and all tokens, as far as these decode.

    Args:
        images: (N, 3, H, W) in [0, 1], whole tiles, on the tokenizer's device.

    Returns:
        (H', W', 3) uint8.
    """
    lengths = shown_lengths(tokenizer.spec)
    columns = [images, *(pictures for _, pictures in prefixes(tokenizer, tokenizer.encode_grid(images), images.shape[2:], lengths))]
    heads = ["original", *(f"{length} token{'s' * (length > 1)}" for length in lengths)]
    return sheet([to_eight_bit(column).permute(0, 2, 3, 1).cpu().numpy() for column in columns], heads)


def shown_lengths(spec: TokenSpec | LatentSpec) -> list[int]:
    """1, 4, 16 and all, rounded down to what decodes."""
    return sorted({length for wanted in (*LENGTHS, spec.max_tokens) if (length := spec.round_down(wanted))})


def sheet(columns: Sequence[np.ndarray], heads: Sequence[str]) -> np.ndarray:
    """Columns of pictures (N, h, w, 3) uint8, each under its head, as one picture (H, W, 3) uint8."""
    rows, height, width = columns[0].shape[:3]
    step = _GAP + max(width, *(math.ceil(ImageFont.load_default().getlength(head)) for head in heads))
    paper = Image.new("RGB", (_GAP + len(columns) * step, _HEAD + rows * (height + _GAP)), _PAPER)
    pen = ImageDraw.Draw(paper)
    for k, (column, head) in enumerate(zip(columns, heads, strict=True)):
        left = _GAP + k * step
        pen.text((left, 2), head, fill=_INK)
        for i, picture in enumerate(column):
            paper.paste(Image.fromarray(picture), (left, _HEAD + i * (height + _GAP)))
    return np.asarray(paper)
