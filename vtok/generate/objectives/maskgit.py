"""Training of a masked generator (arXiv 2202.04200, section 3.1; settings as published with TiTok, 2406.07550)."""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from vtok.data.token_shards.memory import Strings
from vtok.errors import ConfigError
from vtok.generate.families.maskgit import MaskgitConfig, MaskgitGenerator
from vtok.generate.losses.masked import masked_loss, masks
from vtok.generate.objectives.strings import GeneratorObjective, GeneratorObjectiveConfig, GeneratorOptimizer
from vtok.models.conditions import ClassConfig, NoConditionConfig
from vtok.models.mask_bert import MaskBertConfig
from vtok.models.mask_uvit import MaskUvitConfig
from vtok.tokenizers.spec import TokenSpec
from vtok.train.config import Beta
from vtok.train.objective import Losses
from vtok.train.samples.batch import StringBatch
from vtok.train.samples.draws import uniform

MASKS = 1  # what a draw is for


class _Network(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    dim: int = Field(768, ge=1, le=16384)
    depth: int = Field(24, ge=0, le=256)
    heads: int = Field(16, ge=1, le=256)
    hidden: int = Field(3072, ge=1, le=2**17)


class BertNetwork(_Network):
    """The part of `MaskBertConfig` that the strings do not decide."""

    kind: Literal["bert"] = "bert"
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.1, ge=0, lt=1)


class UvitNetwork(_Network):
    """The part of `MaskUvitConfig` that the strings do not decide."""

    kind: Literal["uvit"] = "uvit"


class MaskgitOptimizer(GeneratorOptimizer):
    """As published."""

    learning_rate: float = Field(2e-4, gt=0, le=1)
    warmup_steps: int = Field(10_000, ge=0)
    betas: tuple[Beta, Beta] = (0.9, 0.96)
    weight_decay: float = Field(0.03, ge=0)


class MaskgitObjectiveConfig(GeneratorObjectiveConfig):
    """Settings of a masked generator, which always knows classes.

    Args:
        network: its sizes.
    """

    optimizer: MaskgitOptimizer = MaskgitOptimizer()
    network: Annotated[BertNetwork | UvitNetwork, Field(discriminator="kind")] = BertNetwork()


class MaskgitObjective(GeneratorObjective):
    """Cross entropy of masked tokens, and a little of the others."""

    Config: ClassVar[type[MaskgitObjectiveConfig]] = MaskgitObjectiveConfig
    config: MaskgitObjectiveConfig
    model: MaskgitGenerator

    def make(self, strings: Strings, spec: TokenSpec, condition: ClassConfig | NoConditionConfig) -> MaskgitGenerator:
        settings, own = strings.settings, self.config.network
        if len(spec.codebook_sizes) > 1:
            raise ConfigError(f"a masked generator has one codebook a position, these strings have {len(spec.codebook_sizes)}")
        num_classes = condition.num_classes if isinstance(condition, ClassConfig) else 1
        sizes = own.model_dump() | {"num_codes": spec.codebook_sizes[0], "num_tokens": spec.max_tokens, "num_classes": num_classes}
        network = MaskBertConfig(**sizes) if isinstance(own, BertNetwork) else MaskUvitConfig(**sizes)
        return MaskgitGenerator(
            MaskgitConfig(
                tokenizer=settings.tokenizer,
                code_digest=settings.code_digest,
                spec=settings.spec,
                class_names=settings.class_names,
                network=network,
            )
        )

    def losses(self, batch: StringBatch) -> Losses:
        ids, network = batch.ids[..., 0], self.model.network
        masked = self._masks(batch)
        logits = network(torch.where(masked, network.config.ids.mask, ids), self.given(batch), dropped=self.dropped(batch))
        return {"network": {"masked_cross_entropy": masked_loss(logits, ids, masked)}}

    def _masks(self, batch: StringBatch) -> Tensor:
        even = uniform(batch.indices, self.seed, batch.step, MASKS, size=1 + batch.ids.shape[1])
        return masks(even[:, 0], even[:, 1:]).to(batch.device)
