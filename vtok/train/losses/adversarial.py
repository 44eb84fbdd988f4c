"""Adversarial losses from a discriminator's logits (any shape, (B, ...)); scalars, means over the batch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class AdversarialLoss:
    """The two sides of one game.

    Args:
        generator: of the logits of pictures; lower when they are taken for images.
        discriminator: of the logits of images, then those of pictures; lower when they are told apart.
    """

    generator: Callable[[Tensor], Tensor]
    discriminator: Callable[[Tensor, Tensor], Tensor]


def _hinge_generator(fake: Tensor) -> Tensor:
    return -fake.float().mean()


def _hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    return (relu(1 - real.float()).mean() + relu(1 + fake.float()).mean()) / 2


def _non_saturating_generator(fake: Tensor) -> Tensor:
    return softplus(-fake.float()).mean()


def _non_saturating_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    return (softplus(-real.float()).mean() + softplus(fake.float()).mean()) / 2


ADVERSARIAL_LOSSES = {
    "hinge": AdversarialLoss(_hinge_generator, _hinge_discriminator),  # arXiv 1705.02894
    "non_saturating": AdversarialLoss(_non_saturating_generator, _non_saturating_discriminator),  # arXiv 1406.2661, section 3
}


class LeCam(nn.Module):
    """Keeps a discriminator's logits near the running mean of the other side's (arXiv 2104.03310, equation 4).

    Args:
        decay: of the running means, a step.
    """

    real: Tensor  # () running means of the logits
    fake: Tensor

    def __init__(self, decay: float = 0.999):
        super().__init__()
        self.decay = decay
        self.register_buffer("real", torch.zeros(()))
        self.register_buffer("fake", torch.zeros(()))

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Mean (D(x) - fake mean)^2 + mean (D(G(z)) - real mean)^2, a scalar, of the logits of images and of pictures."""
        return (real.float() - self.fake).square().mean() + (fake.float() - self.real).square().mean()

    @torch.no_grad()
    def update(self, real: Tensor, fake: Tensor) -> None:
        """Take in the mean logits of a step, scalars over the batch of all processes."""
        self.real.lerp_(real.float(), 1 - self.decay)
        self.fake.lerp_(fake.float(), 1 - self.decay)
