"""What quantizers share whose positions hold the sub-tokens of several others side by side."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.models.quantizers.base import Quantizer
from vtok.models.quantizers.vq import VectorQuantizer


class StackedQuantizer(Quantizer):
    """Ids (B, P, K) are those of the coders, one after another on the last axis.

    Args:
        parts: the coders, or one that is used for all.
        num_coders: how many there are.

    Raises:
        ConfigError: another number of parts.
    """

    parts: nn.ModuleList

    def __init__(self, parts: Sequence[Quantizer], num_coders: int):
        super().__init__()
        if not parts or len(parts) not in (1, num_coders):
            raise ConfigError(f"takes 1 quantizer or {num_coders}, got {len(parts)}")
        self.parts = nn.ModuleList(parts)
        self.num_coders = num_coders
        self.vectors_reach_codes = any(part.vectors_reach_codes for part in parts)
        self.codebook_sizes = tuple(size for coder in self.coders() for size in coder.codebook_sizes)

    @property
    def loss_weights(self) -> Mapping[str, float]:  # type: ignore[override]
        return joined_weights(self.coders())

    def coders(self) -> list[Quantizer]:
        """One for each place of a position; the same several times where it is used for all."""
        return cast(list[Quantizer], list(self.parts)) * (self.num_coders // len(self.parts))

    def num_positions(self, num_latents: int) -> int:
        (num, *others) = {part.num_positions(num_latents) for part in self.coders()}
        if others:
            raise ValueError(f"its parts make strings of different lengths of {num_latents} latents: {sorted([num, *others])}")
        return num

    def prefix_lengths(self, num_latents: int) -> tuple[int, ...]:
        taken = [set(part.prefix_lengths(num_latents)) for part in self.coders()]
        return tuple(sorted(set.intersection(*taken)))

    def learned_tables(self) -> Sequence[VectorQuantizer]:
        return [table for part in cast(Iterable[Quantizer], self.parts) for table in part.learned_tables()]

    def split(self, ids: Tensor) -> Sequence[Tensor]:
        """Ids (B, P, K) to those of each coder."""
        return ids.split([len(coder.codebook_sizes) for coder in self.coders()], -1)

    def take_use(self, ids: Tensor) -> None:
        own = self.split(ids)
        parts = cast(Iterable[Quantizer], self.parts)
        for part, used in zip(parts, own if len(self.parts) == self.num_coders else [torch.cat(list(own))], strict=True):
            part.take_use(used)

    def coded_by_part(self, coded: Sequence[Sequence[tuple[Tensor, Tensor]]]) -> Sequence[tuple[Tensor, Tensor]]:
        """What each coder's tables have coded to what each part's have: one part for all has coded what all coders have, (K B, n, d)."""
        if len(self.parts) == self.num_coders:
            return [pair for own in coded for pair in own]
        by_table = (zip(*pairs, strict=True) for pairs in zip(*coded, strict=True))
        return [(torch.cat(latents), torch.cat(ids)) for latents, ids in by_table]


def joined_weights(parts: Iterable[Quantizer]) -> Mapping[str, float]:
    """Weight of each loss of several quantizers together: the largest of theirs."""
    weights: dict[str, float] = {}
    for part in parts:
        for name, weight in part.loss_weights.items():
            weights[name] = max(weight, weights.get(name, 0.0))
    return weights


def joined_losses(parts: Sequence[Quantizer], losses: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Sums of the losses of several quantizers by name, so that `joined_weights` leaves each with its own quantizer's weight."""
    weights, total = joined_weights(parts), dict[str, Tensor]()
    for part, own in zip(parts, losses, strict=True):
        for name, value in own.items():
            share = value * (part.loss_weights[name] / weights[name]) if weights[name] else value
            total[name] = total[name] + share if name in total else share
    return total
