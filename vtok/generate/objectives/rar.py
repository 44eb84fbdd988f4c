"""Training of RAR's generator: strings in random orders at first, in that of their places at the end (arXiv 2411.00776, section 3.2)."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from vtok.data.token_shards.memory import Strings
from vtok.errors import ConfigError
from vtok.generate.families.rar import RarGenerator, RarGeneratorConfig
from vtok.generate.losses.permuted import orders, permuted_loss, random_share
from vtok.generate.objectives.strings import GeneratorObjective, GeneratorObjectiveConfig, GeneratorOptimizer
from vtok.models.conditions import ClassConfig, NoConditionConfig
from vtok.models.rar import BEFORE, RarConfig
from vtok.tokenizers.spec import TokenSpec
from vtok.train.config import Beta
from vtok.train.objective import Losses
from vtok.train.samples.batch import StringBatch
from vtok.train.samples.draws import uniform

ORDERS = 1  # what a draw is for


class RarNetwork(BaseModel):
    """The part of `RarConfig` that the strings do not decide."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    dim: int = Field(768, ge=1, le=16384)
    depth: int = Field(24, ge=0, le=256)
    heads: int = Field(16, ge=1, le=256)
    hidden: int = Field(3072, ge=1, le=2**17)
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.1, ge=0, lt=1)


class RarOptimizer(GeneratorOptimizer):
    """As published."""

    learning_rate: float = Field(4e-4, gt=0, le=1)
    warmup_steps: int = Field(62_500, ge=0)
    final_share: float = Field(0.025, ge=0, le=1)
    betas: tuple[Beta, Beta] = (0.9, 0.96)
    weight_decay: float = Field(0.03, ge=0)


class RarObjectiveConfig(GeneratorObjectiveConfig):
    """Settings of a generator by orders, which always knows classes.

    Args:
        anneal: steps from which on fewer strings are in a random order, and from which on none is.
        network: its sizes.
    """

    optimizer: RarOptimizer = RarOptimizer()
    anneal: tuple[int, int] = (125_000, 187_500)
    network: RarNetwork = RarNetwork()


class RarObjective(GeneratorObjective):
    """Mean cross entropy of the tokens in their order."""

    Config: ClassVar[type[RarObjectiveConfig]] = RarObjectiveConfig
    config: RarObjectiveConfig
    model: RarGenerator

    def make(self, strings: Strings, spec: TokenSpec, condition: ClassConfig | NoConditionConfig) -> RarGenerator:
        settings = strings.settings
        if len(spec.codebook_sizes) > 1:
            raise ConfigError(f"this generator has one codebook a position, these strings have {len(spec.codebook_sizes)}")
        network = RarConfig(
            **self.config.network.model_dump(),
            num_codes=spec.codebook_sizes[0],
            num_tokens=spec.max_tokens,
            num_classes=condition.num_classes if isinstance(condition, ClassConfig) else 1,
            rows=(spec.max_tokens + BEFORE, spec.max_tokens + BEFORE),
        )
        return RarGenerator(
            RarGeneratorConfig(
                tokenizer=settings.tokenizer,
                code_digest=settings.code_digest,
                spec=settings.spec,
                class_names=settings.class_names,
                network=network,
            )
        )

    def losses(self, batch: StringBatch) -> Losses:
        ids = batch.ids[..., 0]
        even = uniform(batch.indices, self.seed, batch.step, ORDERS, size=1 + ids.shape[1]).to(batch.device)
        order = orders(even, random_share(batch.step, *self.config.anneal))
        logits = self.model.network(ids, self.given(batch), order, dropped=self.dropped(batch))
        return {"network": {"cross_entropy": permuted_loss(logits, ids, order)}}
