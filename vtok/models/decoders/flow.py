"""FlexTok's decoder (arXiv 2502.13967): a velocity network over a noisy map, told of a string's prefix by registers beside its patches.

Registers beyond a prefix are all the same learned token, without a position, so their places in attention differ by nothing: one stands
for all of them, with the logarithm of their number added to its scores. The result is the same, the sequence shorter: 256 patches with 16
registers and that one instead of 512 tokens. Without any condition one token stands for all registers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from vtok.models.dit import Dit, ModulatedHead, Modulations, zero_modulations
from vtok.models.flow.solvers import Velocity
from vtok.models.gated_transformer import Attend, init_gated
from vtok.models.linear import Linear
from vtok.models.patch_map import from_patches, placed_patches, sine_positions
from vtok.models.transformer import TransformerConfig

TIMES_AT_ONCE = 64  # of which the modulations are kept: 28 MB for blocks of 768 numbers, 12 of them


@dataclass(frozen=True, eq=False)
class Condition:
    """What a batch of strings tells the network, for all times.

    Args:
        registers: (B, n, D), the last of which stands for all that are missing.
        weights: (B, 1, 1, n) logarithms of how many registers each stands for; None where each stands for itself.
    """

    registers: Tensor
    weights: Tensor | None


class FlowDecoder(nn.Module):
    """The velocity of maps (B, C, h, w) on the straight path between data and noise.

    Args:
        config: sizes.
        channels: of the map.
        patch_size: side of a patch in cells.
        side: of the map in patches.
        num_registers: vectors of a whole string.
        dim: numbers of such a vector.
        max_time: sets the rates at which times are seen, see `dit.TimeEmbedding`.
    """

    positions: Tensor  # (side, side, D), fixed

    def __init__(
        self, config: TransformerConfig, channels: int, patch_size: int, side: int, num_registers: int, dim: int, *, max_time: float
    ):
        super().__init__()
        self.patch_size = patch_size
        self.num_registers = num_registers
        self.registers_in = Linear(dim, config.dim)
        self.register_positions = nn.Parameter(torch.empty(num_registers, config.dim))
        self.mask_token = nn.Parameter(torch.empty(config.dim))
        self.null_token = nn.Parameter(torch.empty(config.dim))
        self.patch_embed = Linear(channels * patch_size**2, config.dim)
        self.register_buffer("positions", sine_positions(side, config.dim))
        self.trunk = Dit(config, max_time)
        self.head = ModulatedHead(config.dim, channels * patch_size**2)
        init_gated(self)
        zero_modulations(self)
        for table in (self.register_positions, self.mask_token, self.null_token):
            nn.init.trunc_normal_(table, std=0.02)

    def condition(self, vectors: Tensor, lengths: Tensor, dropped: Tensor | None = None) -> Condition:
        """What strings say.

        Args:
            vectors: (B, n, D') with n at least the longest length; what stands beyond a length means nothing.
            lengths: (B,) registers that count, 0 to all.
            dropped: (B,) bool, strings that are to say nothing at all; None drops none.
        """
        if dropped is not None:
            lengths = lengths.masked_fill(dropped, 0)
        longest, shortest = _range(lengths)
        tokens = self.registers_in(vectors[:, :longest]) + self.register_positions[:longest]
        if dropped is None and shortest == self.num_registers:  # in training all parameters take part, whatever was drawn
            return Condition(tokens, None)
        rest = self.mask_token.expand(len(tokens), 1, -1)
        if dropped is not None:
            rest = torch.where(dropped[:, None, None], self.null_token, rest)
        told = torch.arange(longest, device=lengths.device) < lengths[:, None]
        counts = torch.cat([told, self.num_registers - lengths[:, None]], 1)
        return Condition(torch.cat([tokens, rest.to(tokens.dtype)], 1), counts.log()[:, None, None])

    def no_condition(self, batch_size: int) -> Condition:
        """What no strings say."""
        weights = self.null_token.new_full((1, 1, 1, 1), math.log(self.num_registers))
        return Condition(self.null_token.expand(batch_size, 1, -1), weights)

    def modulations(self, times: Tensor) -> Modulations:
        """What times (R,) say: one for each sample, or each the same for all samples."""
        return self.trunk.modulations(times, self.head.modulation)

    def forward(self, maps: Tensor, modulations: Modulations, condition: Condition, *, noted: int | None = None) -> tuple[Tensor, Tensor]:
        """Noisy maps (B, C, h, w) to their velocity.

        Args:
            noted: number of a block whose outputs are wanted too.

        Returns:
            velocity (B, C, h, w), and what the block `noted` says of the patches, then of the condition's registers, (B, T, D); without
            one nothing, (B, 0, D).
        """
        patches = placed_patches(maps, self.patch_embed, self.positions)
        x = torch.cat([patches, condition.registers.to(patches.dtype)], 1)
        attend = _weighted(condition, patches.shape[1])
        features, seen = self.trunk(x, modulations, patches.shape[1], attend, noted=noted)
        velocity = from_patches(self.head(features, modulations), self.patch_size, maps.shape[2] // self.patch_size)
        return velocity, x[:, :0] if seen is None else seen

    def at_times(self, times: Sequence[float]) -> Callable[[Condition], Velocity]:
        """What gives a solver the velocity under a condition. What a time says is computed once, that of many times together.

        Args:
            times: all that will be asked for, in about this order.
        """
        known: dict[float, Modulations] = {}

        def of_time(time: float) -> Modulations:
            if time not in known:
                first = times.index(time)
                run = times[first : first + TIMES_AT_ONCE]
                found = self.modulations(torch.tensor(run, dtype=torch.float32, device=self.mask_token.device))
                known.clear()
                known.update((own, found[row]) for row, own in enumerate(run))
            return known[time]

        def under(condition: Condition) -> Velocity:
            def velocity(x: Tensor, time: float) -> Tensor:
                found, _ = self(x, of_time(time), condition)
                out: Tensor = found.to(x.dtype)
                return out

            return velocity

        return under


@torch.compiler.disable  # sizes that tensors say would be asked for in the middle of a graph
def _range(lengths: Tensor) -> tuple[int, int]:
    """The longest, at least 1, and the shortest."""
    shortest, longest = lengths.aminmax()
    return max(1, int(longest)), int(shortest)


def _weighted(condition: Condition, num_patches: int) -> Attend:
    """All look at all, at registers as often as they stand for others."""
    weights = None if condition.weights is None else pad(condition.weights, (num_patches, 0))

    def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        own = None if weights is None else weights.to(q.dtype)
        return scaled_dot_product_attention(q, k, v, own, scale=scale)

    return attend
