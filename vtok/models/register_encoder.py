"""FlexTok's encoder (arXiv 2502.13967): a map of latents is gathered in registers, each of which sees the ones before it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vtok.models.gated_transformer import Attend, GatedBlock, init_gated, norm, patches_then_registers
from vtok.models.linear import Linear
from vtok.models.patch_map import placed_patches, sine_positions
from vtok.models.recompute import run
from vtok.models.transformer import ALL, TransformerConfig


class RegisterEncoder(nn.Module):
    """Maps to vectors before quantisation.

    Args:
        config: sizes.
        channels: of the map.
        patch_size: side of a patch in cells.
        side: of the largest map in patches.
        num_registers: vectors of a string.
        dim: numbers of such a vector.
    """

    positions: Tensor  # (side, side, D), fixed

    def __init__(self, config: TransformerConfig, channels: int, patch_size: int, side: int, num_registers: int, dim: int):
        super().__init__()
        self.patch_size = patch_size
        self.patch_embed = Linear(channels * patch_size**2, config.dim)
        self.register_buffer("positions", sine_positions(side, config.dim))
        self.registers = nn.Parameter(torch.empty(num_registers, config.dim))
        self.blocks = nn.ModuleList(GatedBlock(config) for _ in range(config.depth))
        self.head = Linear(config.dim, dim)
        self.checkpointing = False
        self.attention_of: Callable[[int], Attend] = patches_then_registers
        init_gated(self)
        nn.init.trunc_normal_(self.registers, std=0.02)
        nn.init.zeros_(self.head.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w), whole patches and at most the largest size, to (B, N, D')."""
        patches = self.embed(maps)
        x = torch.cat([patches, self.registers.to(patches.dtype).expand(len(maps), -1, -1)], 1)
        attend = self.attention_of(patches.shape[1])
        own, last = slice(patches.shape[1], None), len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            x = run(block, x, own if number == last else ALL, attend, again=self.checkpointing)
        out: Tensor = self.head(norm(x[:, -len(self.registers) :]))
        return out

    def embed(self, maps: Tensor) -> Tensor:
        """Patches (B, rows * cols, D) with their positions, which smaller maps take from the upper left corner."""
        return placed_patches(maps, self.patch_embed, self.positions)
