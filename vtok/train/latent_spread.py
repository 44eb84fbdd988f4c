"""How far latents spread, measured through the steps of a run."""

import torch
from torch import Tensor, nn

from vtok.train.engine.ema import decay_at
from vtok.train.engine.gather import gathered

DECAY = 0.99  # of the running means, a step


class LatentSpread(nn.Module):
    """Belongs to an objective; its state is saved with it. The batch is that of all processes and of all parts of a step."""

    moments: Tensor  # (2,) running means of the latents' numbers, and of their squares
    _seen: Tensor  # (3,) sums of both means over this step's batches, and how many they were

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("moments", torch.tensor([0.0, 1.0]))
        self.register_buffer("_seen", torch.zeros(3), persistent=False)

    def see(self, vectors: Tensor) -> None:
        """Latents (B, N, D) of a batch; `after_step` follows when the step has seen all its batches."""
        own = vectors.detach().float()
        self._seen += torch.stack([own.mean(), own.square().mean(), own.new_ones(())])

    @torch.no_grad()
    def after_step(self, step: int) -> float:
        """The standard deviation of the latents' numbers over about the last hundred steps, after a step (from 0)."""
        means = gathered((self._seen[:2] / self._seen[2])[None]).mean(0)
        self._seen.zero_()
        self.moments.lerp_(means, 1 - decay_at(step, DECAY))
        mean, power = self.moments
        return float((power - mean.square()).clamp(min=1e-12).sqrt())
