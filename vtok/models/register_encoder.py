"""FlexTok's encoder (arXiv 2502.13967): a map of latents is gathered in registers, each of which sees the ones before it."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vtok.models.gated_transformer import GatedBlock, init_gated, norm, patches_then_registers
from vtok.models.linear import Linear
from vtok.models.patch_map import sine_positions, to_patches
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
        init_gated(self)
        nn.init.trunc_normal_(self.registers, std=0.02)
        nn.init.zeros_(self.head.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w), whole patches and at most the largest size, to (B, N, D')."""
        patches = self.embed(maps)
        x = torch.cat([patches, self.registers.to(patches.dtype).expand(len(maps), -1, -1)], 1)
        attend = patches_then_registers(patches.shape[1])
        own = slice(patches.shape[1], None)
        for block in self.blocks[:-1]:
            x = self._run(block, x, ALL, attend)
        for block in self.blocks[-1:]:
            x = self._run(block, x, own, attend)
        out: Tensor = self.head(norm(x[:, -len(self.registers) :]))
        return out

    def embed(self, maps: Tensor) -> Tensor:
        """Patches (B, rows * cols, D) with their positions, which smaller maps take from the upper left corner."""
        rows, cols = maps.shape[2] // self.patch_size, maps.shape[3] // self.patch_size
        embedded: Tensor = self.patch_embed(to_patches(maps, self.patch_size))
        return embedded + self.positions[:rows, :cols].flatten(0, 1)

    def _run(self, block: nn.Module, *arguments: object) -> Tensor:
        again = self.checkpointing and torch.is_grad_enabled()
        out: Tensor = checkpoint(block, *arguments, use_reentrant=False) if again else block(*arguments)
        return out
