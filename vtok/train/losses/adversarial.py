"""Adversarial losses from a discriminator's logits (any shape, (B, ...)); scalars, means over the batch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from vtok.train.engine.gather import gathered


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
    """Holds a discriminator back while its mean logits lie beyond the running means of the other side (arXiv 2104.03310, section 3).

    In the form of TiTok's training: the mean over the batch comes first, then its distance where it tells images and pictures apart, then
    the square. The batch is that of all processes; where a step accumulates several, each counts for itself.

    Args:
        decay: of the running means, a step.
    """

    real: Tensor  # () running means of the logits
    fake: Tensor
    _seen: Tensor  # (3,) sums of both means over this step's batches, and how many they were; no list, whose length would be compiled in

    def __init__(self, decay: float = 0.999):
        super().__init__()
        self.decay = decay
        self.register_buffer("real", torch.zeros(()))
        self.register_buffer("fake", torch.zeros(()))
        self.register_buffer("_seen", torch.zeros(3), persistent=False)

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """relu(mean D(x) - fake mean)^2 + relu(real mean - mean D(G(z)))^2, a scalar, of the logits of images and of pictures.

        The running means are those before the step. What is seen in training mode with gradients moves them in `after_step`.
        """
        own = torch.stack([real.float().mean(), fake.float().mean()])
        means = own + (gathered(own.detach()[None]).mean(0) - own.detach())  # gradients are averaged over processes later, as all are
        if self.training and torch.is_grad_enabled():
            self._seen += torch.cat([means.detach(), means.new_ones(1)])
        return relu(means[0] - self.fake).square() + relu(self.real - means[1]).square()

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the running means by the step's; they stay where nothing was seen."""
        sums, count = self._seen[:2], self._seen[2]
        real, fake = sums / count.clamp(min=1)
        share = (1 - self.decay) * count.clamp(max=1)
        self.real.lerp_(real, share)
        self.fake.lerp_(fake, share)
        self._seen.zero_()
