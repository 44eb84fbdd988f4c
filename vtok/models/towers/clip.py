"""The vision transformer of CLIP (arXiv 2103.00020, section 2.4), without what stands behind its last norm."""

import torch
from einops import rearrange
from torch import Tensor, nn

from vtok.models.positions import positions_of
from vtok.models.towers.base import Shown, Tower
from vtok.models.transformer import Block, Transformer, TransformerConfig


class QuickGelu(nn.Module):
    """x sigmoid(1.702 x), near to GELU: CLIP was trained with it."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class QuickGeluBlock(Block):
    """A block with that activation."""

    def __init__(self, dim: int, heads: int):
        super().__init__(dim, heads)
        self.activation = QuickGelu()


class ClipTower(Tower):
    """Normed features of all patches; the class token is looked at and not given. Takes pictures of any size in whole patches.

    Args:
        config: sizes.
        patch_size: side of a patch in pixels.
        side: rows and columns of the learned positions.
    """

    def __init__(self, config: TransformerConfig, patch_size: int, side: int):
        super().__init__()
        self.dim, self.patch_size = config.dim, patch_size
        self.shown = Shown()
        scale = config.dim**-0.5
        self.patch_embed = nn.Conv2d(3, config.dim, patch_size, patch_size, bias=False)
        self.class_token = nn.Parameter(scale * torch.randn(1, config.dim))
        self.positions = nn.Parameter(scale * torch.randn(1 + side**2, config.dim))  # the class token's first
        self.norm_in = nn.LayerNorm(config.dim)
        self.transformer = Transformer(config, QuickGeluBlock)
        self.norm_out = nn.LayerNorm(config.dim)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.patch_embed(self.shown(images))
        patches = rearrange(maps, "b d h w -> b (h w) d")
        x = torch.cat([self.class_token.expand(len(images), 1, -1), patches], 1)
        x = self.norm_in(x + positions_of(self.positions, maps.shape[2]))
        out: Tensor = self.norm_out(self.transformer(x, slice(1, None)))
        return out

    def set_gradient_checkpointing(self, on: bool) -> None:
        self.transformer.checkpointing = on
