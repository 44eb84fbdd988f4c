"""Product quantization with sampled codes (McQuic, arXiv 2203.10897): each group of a latent's numbers has a codebook of its own."""

import math
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, one_hot

from vtok.errors import ConfigError
from vtok.models.quantizers.base import Quantized, Quantizer
from vtok.models.quantizers.estimators import straight_through
from vtok.models.quantizers.nearest import assign

NEVER = 1e9  # taken off the score of a code that may not be drawn
LEAST_TEMPERATURE = 1e-6
DEAD_BELOW = 0.01  # share of even use below which a code is dead


class MultiCodebookQuantizer(Quantizer):
    """The sub-tokens of a position are its groups. In eval mode each is the nearest code; there are no losses.

    In training mode codes are drawn, by the Gumbel-softmax of -squared distance * temperature / sqrt(S), one learned temperature a group.
    The choice counts as hard going forward and as soft going back, so that gradients reach the scores of all codes. Codes that are drawn
    often are left out at random, the more often the fewer codes are in use. The scores of all latents and codes, N m S, stand in memory.

    Args:
        dim: width D of a latent.
        codebook_size: codes S of a group.
        num_groups: m, a divisor of D.

    Raises:
        ConfigError: groups of unequal width.
    """

    vectors_reach_codes = True
    codes: nn.Parameter  # (m, S, D / m) float32
    temperatures: nn.Parameter  # (m,)
    frequencies: Tensor  # (m, S) running share of each code in what was drawn

    def __init__(self, dim: int, codebook_size: int, num_groups: int):
        super().__init__()
        if dim % num_groups:
            raise ConfigError(f"{dim} numbers do not make {num_groups} groups of one width")
        self.dim = dim
        self.codebook_sizes = (codebook_size,) * num_groups
        width = dim // num_groups
        self.codes = nn.Parameter(torch.randn(num_groups, codebook_size, width) * math.sqrt(2 / 5 / width))
        self.temperatures = nn.Parameter(torch.ones(num_groups))
        self.register_buffer("frequencies", torch.full((num_groups, codebook_size), 1 / codebook_size))

    @classmethod
    def tiny(cls) -> Self:
        """Two groups of 16 codes over 8 components; seeded."""
        quantizer = cls(8, 16, 2)
        with torch.no_grad():
            quantizer.codes.copy_(torch.randn(2, 16, 4, generator=torch.Generator().manual_seed(0)))
        return quantizer

    def forward(self, z: Tensor, generator: torch.Generator | None = None) -> Quantized:
        """Quantise z (B, N, D).

        Args:
            generator: draws the codes in training mode; PyTorch's own when None.
        """
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            if self.training:
                choices = self._drawn(self.logits(z), generator)
                return Quantized(self.mix(choices), choices.detach().argmax(-1))
            ids = self._nearest(z)
            return Quantized(straight_through(z, self.lookup(ids)), ids)

    def lookup(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        vectors = embedding(self._in_one_table(ids), self.codes.flatten(0, 1)).float().flatten(2)  # (B, N, D)
        if lengths is not None:
            vectors = vectors * (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])[..., None]
        return vectors

    def mix(self, weights: Tensor) -> Tensor:
        """Vectors (..., D) float32 of soft choices: sums of each group's codes, times weights (..., m, S)."""
        with torch.autocast(weights.device.type, enabled=False):
            return torch.einsum("...ms,msd->...md", weights.float(), self.codes.float()).flatten(-2)

    def logits(self, z: Tensor) -> Tensor:
        """Scores (B, N, m, S) of the codes for z (B, N, D): 2 z.c - |c|^2, which is |z|^2 less the squared distance, times its factor."""
        codes, size = self.codes.float(), self.codebook_sizes[0]
        scores = 2 * torch.einsum("bnmd,msd->bnms", self._grouped(z), codes) - codes.square().sum(-1)
        return scores * (self.temperatures.float().clamp(min=LEAST_TEMPERATURE) / math.sqrt(size))[:, None]

    def take_use(self, ids: Tensor) -> None:
        self.update(ids)

    @torch.no_grad()
    def update(self, ids: Tensor, decay: float = 0.99) -> Tensor:
        """Take in what was drawn in a step, and put copies of the most used codes in the place of dead ones.

        Where more than half of a group's codes are dead, half of those are replaced. A code and its copies share its frequency.

        Args:
            ids: (B, N, m), those of all processes in one order.
            decay: of the frequencies, a step.

        Returns:
            (m, S) bool, true for codes that were replaced.
        """
        num_groups, size = self.frequencies.shape
        shares = torch.bincount(self._in_one_table(ids).flatten(), minlength=num_groups * size).view(num_groups, size) / ids[..., 0].numel()
        self.frequencies.lerp_(shares, 1 - decay)
        dead = self.frequencies < DEAD_BELOW / size
        return torch.stack([_copied(*group) for group in zip(self.codes, self.frequencies, dead, strict=True)])

    def _drawn(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Choices (B, N, m, S): 1 for the code drawn, 0 for others, with the gradients of the softmax."""
        device = logits.device if generator is None else generator.device
        uniform = torch.rand(logits.shape, generator=generator, device=device).to(logits.device)
        logits = logits - NEVER * (uniform ** self._reluctance() < self.frequencies)
        exponential = torch.empty(logits.shape, device=device).exponential_(generator=generator).to(logits.device)
        soft = (logits - exponential.clamp(min=torch.finfo(torch.float32).tiny).log()).softmax(-1)
        hard = one_hot(soft.argmax(-1), logits.shape[-1]).float()
        return hard + (soft - soft.detach())

    def _reluctance(self) -> Tensor:
        """(m, 1) power of the draws that leave codes out: from 1 where all codes of a group are in use to log2(S) where few are."""
        size = self.codebook_sizes[0]
        in_use = (self.frequencies > DEAD_BELOW / size).float().mean(1, keepdim=True)
        return math.log2(size) - (math.log2(size) - 1) * in_use.square()

    @torch.no_grad()
    def _nearest(self, z: Tensor) -> Tensor:
        groups = self._grouped(z).flatten(0, 1).unbind(1)
        return torch.stack([assign(own, codes) for own, codes in zip(groups, self.codes.float(), strict=True)], 1).view(*z.shape[:2], -1)

    def _in_one_table(self, ids: Tensor) -> Tensor:
        """Ids (B, N, m) of codes of each group to rows of the codes of all groups one after another."""
        num_groups, size = self.frequencies.shape
        return ids + size * torch.arange(num_groups, device=ids.device)

    def _grouped(self, z: Tensor) -> Tensor:
        return z.unflatten(2, (len(self.codes), -1))  # (B, N, m, D / m)


def _copied(codes: Tensor, frequencies: Tensor, dead: Tensor) -> Tensor:
    """Put copies of the most used of codes (S, d) in the place of dead ones; (S,) bool, true for codes that were replaced."""
    num_dead, replaced = int(dead.sum()), torch.zeros_like(dead)
    num_copies = num_dead if 2 * num_dead <= len(dead) else num_dead // 2
    by_use = frequencies.argsort(stable=True)  # rising, the dead ones first
    own, living = by_use[:num_copies], by_use[num_dead:].flip(0)
    sources = living[torch.arange(num_copies, device=living.device) % len(living)]
    frequencies /= 1 + torch.bincount(sources, minlength=len(dead))
    frequencies[own], codes[own], replaced[own] = frequencies[sources], codes[sources], True
    return replaced
