"""What objectives share that are trained by pictures: their losses, and a discriminator that judges them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.eval.pairs.lpips import TRUNKS
from vtok.models.decoders import Decoded, DecodeOptions
from vtok.tokenizers.pretrained import Pretrained
from vtok.train.config import DataConfig
from vtok.train.losses.adversary import Adversary, AdversaryConfig
from vtok.train.losses.picture_losses import PictureLossConfig, PictureLosses
from vtok.train.objective import Group, Losses
from vtok.train.objectives.strings import StringConfig, StringObjective
from vtok.train.samples.batch import Batch


class PixelConfig(StringConfig):
    """Settings of those that are trained by pictures.

    Args:
        pictures: losses between picture and reconstruction.
        adversary: a discriminator that judges the last decode of a step; None leaves it out.
    """

    pictures: PictureLossConfig = PictureLossConfig(l2=1.0, lpips=0.0)
    adversary: AdversaryConfig | None = None


class PixelObjective(StringObjective):
    """Compares pictures, and lets a discriminator judge them."""

    config: PixelConfig

    def __init__(self, config: PixelConfig):
        super().__init__()
        self.config = config
        self.pictures = PictureLosses(config.pictures)
        self.adversary: Adversary | None = None

    def check(self, data: DataConfig) -> None:
        super().check(data)
        spec, config = self.expected_spec(), self.config
        if spec.output_size != spec.input_size:
            raise ConfigError(f"pictures of {spec.output_size} pixels cannot be compared with those of {spec.input_size}")
        least = TRUNKS[config.pictures.lpips_trunk].min_side if config.pictures.lpips else 1
        if config.adversary is not None:
            least = max(least, config.adversary.discriminator.least_side)
        if spec.input_size[0] < least:
            raise ConfigError(f"LPIPS or the discriminator needs pictures of {least} pixels and more, these are of {spec.input_size[0]}")

    def begin_with(self, tokenizer: Pretrained, seed: int, trained: Sequence[nn.Module | nn.Parameter]) -> None:
        super().begin_with(tokenizer, seed, trained)
        if self.config.adversary is None:
            return
        self.adversary = Adversary(self.config.adversary)
        own = self.adversary.config
        self.groups = (*self.groups, Group("discriminator", list(self.adversary.parameters()), own.optimizer, own.first_step))

    def options(self, batch: Batch) -> DecodeOptions:  # noqa: ARG002 - for decoders that take something
        """What the decoder is told beside the string."""
        return DecodeOptions()

    def judged(self, batch: Batch, decodes: Sequence[Decoded], losses: dict[str, Tensor]) -> Losses:
        """All losses of a step.

        Args:
            decodes: of all lengths drawn; the discriminator judges the last one.
            losses: those of the bottleneck.
        """
        target = self.pictures.target(batch.images)
        found = [self.pictures(decoded.pictures.float(), target) for decoded in decodes]
        network = {name: torch.stack([own[name] for own in found]).sum() for name in found[0]} | losses
        if self.adversary is None or not self.adversary.has_begun(batch.step):
            return {"network": network}
        pictures = decodes[-1].pictures
        with torch.autocast(batch.images.device.type, enabled=False):
            felt = self.adversary.loss_of_pictures(pictures.float(), batch.step)
            told = self.adversary.losses_of_discriminator(batch.images, pictures.float())
        return {"network": network if felt is None else network | {"adversarial": felt}, "discriminator": told}

    def after_step(self, step: int, ema: Pretrained) -> None:  # noqa: ARG002 - for those that change buffers
        if self.adversary is not None:
            self.adversary.after_step()
