"""What the training of every generator shares: the strings it is bound to, dropped classes, one group of parameters."""

from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vtok.data.token_shards.memory import Strings
from vtok.errors import ConfigError, DataError
from vtok.generate.base import Generator
from vtok.models.conditions import ClassConfig, NoConditionConfig
from vtok.tokenizers.spec import TokenSpec
from vtok.train.config import Beta, DataConfig, OptimizerConfig
from vtok.train.objective import Group
from vtok.train.objectives.strings import drawn
from vtok.train.samples.batch import StringBatch
from vtok.train.samples.draws import uniform

DROPS = 0  # what a draw is for


class GeneratorOptimizer(OptimizerConfig):
    """As LlamaGen's: a constant rate unless told otherwise."""

    betas: tuple[Beta, Beta] = (0.9, 0.95)
    weight_decay: float = Field(0.05, ge=0)


class GeneratorObjectiveConfig(BaseModel):
    """Settings of all generators.

    Args:
        classes: whether the strings' classes are told to the network; else it makes strings of any.
        num_classes: how many there are; 0 takes those that the data set names, or as many as its largest id asks for.
        drop_class: chance that a sample goes without its class, so that the network learns "no class" too, which guidance needs.
        optimizer: of all parameters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    classes: bool = True
    num_classes: int = Field(0, ge=0)
    drop_class: float = Field(0.1, ge=0, le=1)
    optimizer: GeneratorOptimizer = GeneratorOptimizer()


class GeneratorObjective(nn.Module):
    """An objective fills in `make` and `losses`."""

    takes_strings: ClassVar[bool] = True
    config: GeneratorObjectiveConfig
    groups: tuple[Group, ...]
    model: Any  # the generator that is trained

    def __init__(self, config: GeneratorObjectiveConfig):
        super().__init__()
        self.config = config

    def make(self, strings: Strings, spec: TokenSpec, condition: ClassConfig | NoConditionConfig) -> Generator[Any]:
        """A generator of such strings, with weights drawn at random."""
        raise NotImplementedError

    def check(self, data: DataConfig) -> None:
        """Nothing: what can be wrong shows in the strings, which `prepare` has at once."""

    def prepare(self, samples: Strings, generator: torch.Generator) -> Generator[Any]:
        """A generator with the weights that training from scratch begins with.

        Raises:
            DataError: strings that are shorter than the tokenizer's, or without classes where these are asked.
            ConfigError: fewer classes than the strings have.
        """
        settings = samples.settings
        spec = TokenSpec.from_json(settings.spec)
        if settings.num_tokens != spec.max_tokens:
            raise DataError(
                f"{samples.name}: strings of {settings.num_tokens} tokens, the tokenizer's have {spec.max_tokens}; a generator learns "
                "whole strings and stops early when it is asked to: run vtok tokenize without --tokens"
            )
        condition = self._condition(samples) if self.config.classes else NoConditionConfig()
        return drawn(lambda: self.make(samples, spec, condition), generator.initial_seed())

    def begin(self, tokenizer: Generator[Any], seed: int) -> None:
        """See `GradientObjective`."""
        self.seed = seed
        self.model = tokenizer.train().requires_grad_(True)
        self.groups = (Group("network", list(tokenizer.parameters()), self.config.optimizer),)

    def latents_digest(self) -> str:
        return ""

    def dropped(self, batch: StringBatch) -> Tensor | None:
        """(B,) bool, which samples go without their class; None where no class is told."""
        if not self.config.classes:
            return None
        return (uniform(batch.indices, self.seed, batch.step, DROPS)[:, 0] < self.config.drop_class).to(batch.device)

    def given(self, batch: StringBatch) -> Tensor | None:
        """Classes (B,) that the network is told."""
        return batch.classes if self.config.classes else None

    def after_step(self, step: int, ema: Any) -> None:
        """Nothing: gradients do it all."""

    def _condition(self, strings: Strings) -> ClassConfig:
        least, largest = int(strings.classes.min()), int(strings.classes.max())
        if least < 0:
            num_without = int((strings.classes < 0).sum())
            raise DataError(
                f"{strings.name}: {num_without} of {len(strings)} strings have no class; tokenize with --classes folder, "
                "or train without: classes = false"
            )
        names = strings.settings.class_names
        num = self.config.num_classes or (largest + 1 if names is None else len(names))
        if largest >= num:
            raise ConfigError(f"num_classes is {num}, but {strings.name} has the class {largest}")
        return ClassConfig(num_classes=num, null=self.config.drop_class > 0)
