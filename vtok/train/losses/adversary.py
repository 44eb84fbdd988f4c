"""A discriminator beside an objective: its loss, and what the pictures lose by it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vtok.models.discriminators import DiscriminatorConfig, PatchConfig, build
from vtok.train.config import Beta, OptimizerConfig
from vtok.train.losses.adversarial import ADVERSARIAL_LOSSES, LeCam


class DiscriminatorOptimizer(OptimizerConfig):
    learning_rate: float = Field(2e-4, gt=0, le=1)
    betas: tuple[Beta, Beta] = (0.5, 0.9)
    weight_decay: float = Field(0.0, ge=0)


class AdversaryConfig(BaseModel):
    """The adversarial part of a training.

    Args:
        weight: of the pictures' loss; it is fixed.
        first_step: when the discriminator begins to learn; before it does not even look.
        warmup_steps: it learns alone for so many steps before the pictures feel it.
        loss: form of the game.
        discriminator: its kind and sizes (`vtok.models.discriminators.config`).
        lecam: weight of `LeCam` in the discriminator's own loss; 0 leaves it out.
        lecam_decay: of its running means, a step.
        optimizer: of the discriminator.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    weight: float = Field(0.1, gt=0)
    first_step: int = Field(0, ge=0)
    warmup_steps: int = Field(500, ge=0)
    loss: Literal["hinge", "non_saturating"] = "hinge"
    discriminator: DiscriminatorConfig = PatchConfig()
    lecam: float = Field(0.0, ge=0)
    lecam_decay: float = Field(0.999, ge=0, lt=1)
    optimizer: DiscriminatorOptimizer = DiscriminatorOptimizer()


class Adversary(nn.Module):
    """The discriminator and both sides' losses."""

    def __init__(self, config: AdversaryConfig):
        super().__init__()
        self.config = config
        self.game = ADVERSARIAL_LOSSES[config.loss]
        self.discriminator = build(config.discriminator)
        self.lecam = LeCam(config.lecam_decay) if config.lecam else None

    def has_begun(self, step: int) -> bool:
        return step >= self.config.first_step

    def loss_of_pictures(self, pictures: Tensor, step: int) -> Tensor | None:
        """Weighted loss of pictures (B, 3, H, W), which does not reach the discriminator; None before the pictures are to feel it."""
        if step < self.config.first_step + self.config.warmup_steps:
            return None
        with _frozen(self.discriminator):
            return self.config.weight * self.game.generator(self.discriminator(pictures))

    def losses_of_discriminator(self, images: Tensor, pictures: Tensor) -> dict[str, Tensor]:
        """The discriminator's own losses by name, which do not reach the pictures; `after_step` follows."""
        real, fake = self.discriminator(images), self.discriminator(pictures.detach())
        losses = {"real_or_not": self.game.discriminator(real, fake)}
        if self.lecam is not None:
            losses["lecam"] = self.config.lecam * self.lecam(real, fake)
        return losses

    def after_step(self) -> None:
        """Take what the step has shown into running means."""
        if self.lecam is not None:
            self.lecam.after_step()


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Let gradients through a network, but not to its parameters."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
