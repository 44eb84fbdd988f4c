"""What the objectives of the TiTok line share: sizes that fit, drawn lengths, picture losses with an adversary, what is not decayed."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vtok.errors import ConfigError, VtokError, WeightsError
from vtok.eval.lpips import TRUNKS
from vtok.models.decoders import Decoded, DecodeOptions
from vtok.tokenizers.prefix import Pair, PrefixRule, TailDrop, draw_lengths
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.spec import LatentSpec, LengthRules, TokenSpec
from vtok.train.config import Beta, DataConfig, OptimizerConfig
from vtok.train.losses.adversary import Adversary, AdversaryConfig
from vtok.train.losses.picture_losses import PictureLossConfig, PictureLosses
from vtok.train.objective import Group, Losses
from vtok.train.samples.batch import Batch
from vtok.train.samples.draws import generator as draws_at
from vtok.train.samples.pictures import Pictures
from vtok.weights import load

RANDOM = "random"  # as a start: no weights but those drawn from the seed
LENGTHS, REVIVAL, NOISE = range(3)  # what a draw is for
Model = TypeVar("Model", bound=Pretrained)
_TABLES = frozenset({"latent_tokens", "class_token", "mask_token", "positions", "latent_positions", "text_positions", "codes"})
_EMBEDDINGS = (".patch_embed.weight", ".trunk.embed.weight")


class NetworkOptimizer(OptimizerConfig):
    """As TiTok's: the rate falls to a tenth."""

    warmup_steps: int = Field(10_000, ge=0)
    final_share: float = Field(0.1, ge=0, le=1)
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    weight_decay: float = Field(1e-4, ge=0)


class StringConfig(BaseModel):
    """Settings that all these objectives have.

    Args:
        prefix: how many tokens a step decodes; strings of one length are always decoded whole.
        network: updates of all that is trained but a discriminator.
        decay_embeddings: weight decay of the matrices that patches and vectors are embedded by (One-D-Piece); tables of tokens, positions
            and codes, and what has fewer than two axes, are never decayed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    prefix: PrefixRule = TailDrop()
    network: NetworkOptimizer = NetworkOptimizer()
    decay_embeddings: bool = False


class PixelConfig(StringConfig):
    """Settings of those that are trained by pictures.

    Args:
        pictures: losses between picture and reconstruction.
        adversary: a discriminator that judges the last decode of a step; None leaves it out.
    """

    pictures: PictureLossConfig = PictureLossConfig(l2=1.0, lpips=0.0)
    adversary: AdversaryConfig | None = None


class StringObjective(nn.Module):
    """Takes a start, makes the group "network", draws lengths. An objective fills in `make` and `losses`."""

    config: StringConfig
    groups: tuple[Group, ...]

    def check(self, data: DataConfig) -> None:
        spec, name = self.expected_spec(), type(self).__name__
        side = spec.input_size[0]
        if data.crop_size != side:
            raise ConfigError(f"data.crop_size is {data.crop_size} pixels, this tokenizer takes {side}")
        if data.kind == "cache":
            raise ConfigError(f'data.kind = "cache" holds an autoencoder\'s latents, {name} has none; give it pictures')
        prefix = self.config.prefix
        (prefix.of if isinstance(prefix, Pair) else prefix).chances(spec)

    def expected_spec(self) -> TokenSpec | LatentSpec:
        """Of the tokenizer that `prepare` will give."""
        with torch.device("meta"):
            spec: TokenSpec | LatentSpec = self.make().spec
            return spec

    def make(self) -> Any:
        """The tokenizer that is trained, with the weights that it begins with."""
        raise NotImplementedError

    def prepare(self, pictures: Pictures, generator: torch.Generator) -> Any:  # noqa: ARG002 - nothing is fitted
        """A tokenizer with the weights that training from scratch begins with."""
        return drawn(self.make, generator.initial_seed())

    def begin_with(self, tokenizer: Pretrained, seed: int, trained: Sequence[nn.Module | nn.Parameter]) -> None:
        """Train some parts of a tokenizer as the group "network"; all else of it is frozen."""
        self.seed = seed
        tokenizer.train().requires_grad_(False)
        for part in trained:
            part.requires_grad_(True)
        parameters = [parameter for parameter in tokenizer.parameters() if parameter.requires_grad]
        self.groups = (Group("network", parameters, self.config.network, undecayed=self._undecayed(tokenizer)),)

    def latents_digest(self) -> str:
        return ""

    def lengths(self, batch: Batch, spec: LengthRules) -> list[Tensor]:
        """(B,) tokens of each picture, for each decode of the step."""
        drawn = draw_lengths(self.config.prefix, spec, batch.indices, draws_at(self.seed, batch.step, LENGTHS))
        return [own.to(batch.images.device) for own in drawn]

    def _undecayed(self, tokenizer: nn.Module) -> list[nn.Parameter]:
        kept = () if self.config.decay_embeddings else _EMBEDDINGS
        return [
            parameter for name, parameter in tokenizer.named_parameters() if name.rpartition(".")[2] in _TABLES or f".{name}".endswith(kept)
        ]


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


def drawn(make: Callable[[], Model], seed: int) -> Model:
    """A model with the weights that training from scratch begins with, in eval mode."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return make().eval()


def loaded(start: str, kinds: tuple[type[Pretrained], ...], setting: str) -> Pretrained:
    """Weights to begin with, by name or folder.

    Raises:
        WeightsError: they are not at hand; the message names the setting.
        ConfigError: they are of another family.
    """
    try:
        model: Pretrained = load(start)
    except VtokError as error:
        raise WeightsError(f'{setting} = "{start}": {error}') from None
    if not isinstance(model, kinds):
        families = " or ".join(sorted({kind.family for kind in kinds}))
        raise ConfigError(f'{setting} = "{start}": a {model.family} model, expected {families}')
    return model
