"""What objectives share that train strings of tokens: sizes that fit, drawn lengths, a start, what is not decayed."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vtok.errors import ConfigError, VtokError, WeightsError
from vtok.tokenizers.prefix import Pair, PrefixRule, TailDrop, draw_lengths
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.spec import LatentSpec, LengthRules, TokenSpec
from vtok.train.config import Beta, DataConfig, OptimizerConfig
from vtok.train.objective import Group
from vtok.train.samples.batch import Batch
from vtok.train.samples.draws import generator as draws_at
from vtok.train.samples.pictures import Pictures
from vtok.weights import load

RANDOM = "random"  # as a start: no weights but those drawn from the seed
LENGTHS, REVIVAL, NOISE, TIMES, DROPS, SKIPS = range(6)  # what a draw is for
Model = TypeVar("Model", bound=Pretrained)
_POSITIONS = ("positions", "latent_positions", "register_positions", "text_positions")
_TABLES = frozenset({"latent_tokens", "class_token", "mask_token", "registers", "codes", *_POSITIONS})
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


class StringObjective(nn.Module):
    """Takes a start, makes the group "network", draws lengths. An objective fills in `make` and `losses`."""

    config: StringConfig
    groups: tuple[Group, ...]
    takes_strings = False  # it makes them
    takes_latents = False  # of a frozen autoencoder, from a cache

    def check(self, data: DataConfig) -> None:
        spec, name = self.expected_spec(), type(self).__name__
        side = spec.input_size[0]
        if data.crop_size != side:
            raise ConfigError(f"data.crop_size is {data.crop_size} pixels, this tokenizer takes {side}")
        if data.kind == "cache" and not self.takes_latents:
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
        """Train some parts of a tokenizer, and what may stand beside it, as the group "network"; all else of the tokenizer is frozen."""
        self.seed = seed
        tokenizer.train().requires_grad_(False)
        parameters = [parameter for part in trained for parameter in (part.parameters() if isinstance(part, nn.Module) else [part])]
        for parameter in parameters:
            parameter.requires_grad_(True)
        self.groups = (Group("network", parameters, self.config.network, undecayed=self._undecayed(tokenizer)),)

    def latents_digest(self) -> str:
        return ""

    def lengths(self, batch: Batch, spec: LengthRules) -> list[Tensor]:
        """(B,) tokens of each picture, for each decode of the step."""
        drawn = draw_lengths(self.config.prefix, spec, batch.indices, draws_at(self.seed, batch.step, LENGTHS))
        return [own.to(batch.images.device) for own in drawn]

    def after_step(self, step: int, ema: Pretrained) -> None:
        """Nothing: gradients do it all, unless an objective says otherwise."""

    def _undecayed(self, tokenizer: nn.Module) -> list[nn.Parameter]:
        kept = () if self.config.decay_embeddings else _EMBEDDINGS
        return [
            parameter for name, parameter in tokenizer.named_parameters() if name.rpartition(".")[2] in _TABLES or f".{name}".endswith(kept)
        ]


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
