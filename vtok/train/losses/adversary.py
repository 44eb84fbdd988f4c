"""A discriminator beside an objective: its loss, and what the pictures lose by it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from vtok.models.discriminators.patch import PatchDiscriminator
from vtok.train.config import Beta, OptimizerConfig
from vtok.train.losses.adversarial import ADVERSARIAL_LOSSES


class DiscriminatorOptimizer(OptimizerConfig):
    learning_rate: float = Field(2e-4, gt=0, le=1)
    betas: tuple[Beta, Beta] = (0.5, 0.9)
    weight_decay: float = Field(0.0, ge=0)


class AdversaryConfig(BaseModel):
    """The adversarial part of a training.

    Args:
        weight: of the pictures' loss.
        first_step: when the discriminator begins to learn.
        warmup_steps: it learns alone for so many steps before the pictures feel it.
        loss: form of the game.
        dim, depth, norm: of the discriminator (`PatchDiscriminator`).
        optimizer: of the discriminator.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    weight: float = Field(0.1, gt=0)
    first_step: int = Field(0, ge=0)
    warmup_steps: int = Field(500, ge=0)
    loss: Literal["hinge", "non_saturating"] = "hinge"
    dim: int = Field(64, ge=1, le=1024)
    depth: int = Field(3, ge=1, le=8)
    norm: Literal["group", "spectral"] = "group"
    optimizer: DiscriminatorOptimizer = DiscriminatorOptimizer()

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        if self.norm == "group" and self.dim % 16:
            raise ValueError(f"dim is a multiple of 16 with group norm, got {self.dim}")
        return self

    @property
    def least_side(self) -> int:
        """Of a picture, in pixels: after the halvings two convolutions take one each, and norms need more than one place."""
        return 4 * 2**self.depth


class Adversary(nn.Module):
    """The discriminator and both sides' losses."""

    def __init__(self, config: AdversaryConfig):
        super().__init__()
        self.config = config
        self.game = ADVERSARIAL_LOSSES[config.loss]
        self.discriminator = PatchDiscriminator(config.dim, config.depth, norm=config.norm)

    def has_begun(self, step: int) -> bool:
        return step >= self.config.first_step

    def loss_of_pictures(self, pictures: Tensor, step: int) -> Tensor | None:
        """Weighted loss of pictures (B, 3, H, W), which does not reach the discriminator; None before the pictures are to feel it."""
        if step < self.config.first_step + self.config.warmup_steps:
            return None
        with _frozen(self.discriminator):
            return self.config.weight * self.game.generator(self.discriminator(pictures))

    def loss_of_discriminator(self, images: Tensor, pictures: Tensor) -> Tensor:
        """The discriminator's own loss, which does not reach the pictures."""
        return self.game.discriminator(self.discriminator(images), self.discriminator(pictures.detach()))


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Let gradients through a network, but not to its parameters."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
