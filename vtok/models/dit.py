"""A transformer whose blocks are modulated by a time (DiT, arXiv 2212.09748), over patches and registers with a modulation each (FlexTok).

What depends on the times alone is computed for many of them at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from vtok.models.gated_transformer import Attend, Attention, GatedMlp, norm
from vtok.models.linear import Linear
from vtok.models.recompute import run
from vtok.models.transformer import ALL, TransformerConfig

RATES = 128  # of the sines that a time is seen through


@dataclass(frozen=True, eq=False)
class Modulations:
    """What R times say to each layer; R is 1, or one for each sample.

    Args:
        blocks: (R, 2, 6, D) of each block: for patches, then registers, the gates of attention and MLP, then shift and scale of either.
        head: (R, 2, D) shift and scale.
    """

    blocks: Sequence[Tensor]
    head: Tensor

    def __getitem__(self, row: int) -> Self:
        """Of one time."""
        own = slice(row, row + 1)
        return type(self)([block[own] for block in self.blocks], self.head[own])


class TimeEmbedding(nn.Module):
    """Times (R,) in [0, max_time] to (R, D), by cosines and sines at 128 rates from 1000 / max_time down to almost 1 / 256 of it."""

    def __init__(self, dim: int, max_time: float):
        super().__init__()
        self.max_time = max_time
        self.layers = nn.Sequential(nn.Linear(2 * RATES, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, times: Tensor) -> Tensor:
        out: Tensor = self.layers(self.waves(times))
        return out

    def waves(self, times: Tensor) -> Tensor:
        """(R, 256) float32: cosines, then sines."""
        rates = 1000 / self.max_time * 256.0 ** (-torch.arange(RATES, device=times.device) / RATES)
        angles = times.float()[:, None] * rates
        return torch.cat([angles.cos(), angles.sin()], 1)


class ModulatedBlock(nn.Module):
    """Attention and gated MLP on shifted and scaled norms, added through gates."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.modulation = nn.Linear(config.dim, 2 * 6 * config.dim)
        self.attention = Attention(config.dim, config.heads)
        self.mlp = GatedMlp(config.dim)

    def forward(self, x: Tensor, modulation: Tensor, num_patches: int, kept: slice, attend: Attend) -> Tensor:
        """Tokens (B, T, D), patches first, to what the block makes of those at `kept`, which begin with the first patch.

        Args:
            modulation: (R, 2, 6, D) as in `Modulations`.
        """
        attention_gate, mlp_gate, *ends = modulation.unbind(2)  # (R, 2, D) each
        attention_shift, attention_scale, mlp_shift, mlp_scale = ends
        seen = _modulated(x, attention_shift, attention_scale, num_patches)
        x = _added(x[:, kept], self.attention(seen, kept, attend), attention_gate, num_patches)
        return _added(x, self.mlp(_modulated(x, mlp_shift, mlp_scale, num_patches)), mlp_gate, num_patches)


class Dit(nn.Module):
    """Modulated blocks over patches and registers.

    Args:
        config: sizes.
        max_time: of the times that `modulations` is given.
    """

    def __init__(self, config: TransformerConfig, max_time: float):
        super().__init__()
        self.dim = config.dim
        self.time = TimeEmbedding(config.dim, max_time)
        self.blocks = nn.ModuleList(ModulatedBlock(config) for _ in range(config.depth))
        self.checkpointing = False

    def modulations(self, times: Tensor, head: nn.Linear) -> Modulations:
        """Of R times (R,).

        Args:
            head: makes shift and scale of what comes after the blocks, D to 2 * D.
        """
        embedded = silu(self.time(times))
        linears = [cast(ModulatedBlock, block).modulation for block in self.blocks]
        blocks = [linear(embedded).view(-1, 2, 6, self.dim) for linear in linears]
        return Modulations(blocks, head(embedded).view(-1, 2, self.dim))

    def forward(
        self, x: Tensor, modulations: Modulations, num_patches: int, attend: Attend, *, noted: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens (B, T, D), patches first, to the patches after all blocks (B, L, D), and all tokens after the block `noted`, if any."""
        patches, seen = slice(0, num_patches), None
        last = len(self.blocks) - 1
        for number, (block, modulation) in enumerate(zip(self.blocks, modulations.blocks, strict=True)):
            kept = patches if number == last and number != noted else ALL
            x = run(block, x, modulation, num_patches, kept, attend, again=self.checkpointing)
            if number == noted:
                seen = x
        return x[:, patches], seen


class ModulatedHead(nn.Module):
    """Patches (B, L, D) to numbers (B, L, N), shifted and scaled by the time before; 0 at first."""

    def __init__(self, dim: int, numbers: int):
        super().__init__()
        self.modulation = nn.Linear(dim, 2 * dim)
        self.out = Linear(dim, numbers)

    def forward(self, x: Tensor, modulations: Modulations) -> Tensor:
        shift, scale = modulations.head.unbind(1)
        out: Tensor = self.out(torch.addcmul(shift[:, None], norm(x), 1 + scale[:, None]))
        return out


def zero_modulations(part: nn.Module) -> None:
    """Blocks that pass on what they get, and a head that gives 0, as training begins (adaLN-Zero, arXiv 2212.09748, section 3.2)."""
    for module in part.modules():
        if isinstance(module, ModulatedBlock | ModulatedHead):
            nn.init.zeros_(module.modulation.weight)
        if isinstance(module, ModulatedHead):
            nn.init.zeros_(module.out.weight)


def _modulated(x: Tensor, shift: Tensor, scale: Tensor, num_patches: int) -> Tensor:
    """norm(x) * (1 + scale) + shift, with the first row of shift and scale (R, 2, D) for patches and the second for registers."""
    parts = norm(x).tensor_split([num_patches], 1)
    return torch.cat([torch.addcmul(shift[:, i, None], part, 1 + scale[:, i, None]) for i, part in enumerate(parts)], 1)


def _added(x: Tensor, change: Tensor, gate: Tensor, num_patches: int) -> Tensor:
    """x + gate * change, with the first row of the gate (R, 2, D) for patches and the second for registers."""
    parts = zip(x.tensor_split([num_patches], 1), change.tensor_split([num_patches], 1), strict=True)
    return torch.cat([torch.addcmul(own, gate[:, i, None], added) for i, (own, added) in enumerate(parts)], 1)
