"""A transformer between a convolutional encoder and one of its heads (FQGAN, arXiv 2411.16681, section 3.2)."""

import torch
from einops import rearrange
from torch import Tensor, nn

from vtok.models.transformer import Transformer, TransformerConfig


class FeatureAdapter(nn.Module):
    """Looks at all places of a map at once; nothing of its input is added to its output.

    Args:
        config: sizes; `dim` is that of the maps.
        side: rows and columns of the maps.
    """

    def __init__(self, config: TransformerConfig, side: int):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(side**2, config.dim) * config.dim**-0.5)
        self.norm_in = nn.LayerNorm(config.dim)
        self.transformer = Transformer(config)
        self.norm_out = nn.LayerNorm(config.dim)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, D, side, side) to maps of the same shape."""
        x = rearrange(maps, "b d h w -> b (h w) d") + self.positions
        x = self.norm_out(self.transformer(self.norm_in(x)))
        # A group norm follows. On a processor torch 2.13 dies in its backward pass where channels lie side by side and its input is frozen.
        return rearrange(x, "b (h w) d -> b d h w", h=maps.shape[2]).contiguous()
