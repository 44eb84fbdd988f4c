"""Training of a generator scale by scale: each scale from those before it (VAR, arXiv 2404.02905, section 3.2)."""

from typing import ClassVar

from torch.nn.functional import cross_entropy

from vtok.data.token_shards.memory import Strings
from vtok.errors import ConfigError
from vtok.generate.families.next_scale import NextScaleGenerator, NextScaleGeneratorConfig
from vtok.generate.objectives.strings import GeneratorObjective, GeneratorObjectiveConfig
from vtok.models.causal_transformer import CausalConfig
from vtok.models.conditions import ClassConfig, NoConditionConfig
from vtok.models.next_scale import NextScaleConfig
from vtok.tokenizers.spec import TokenSpec
from vtok.train.objective import Losses
from vtok.train.samples.batch import StringBatch


class NextScaleObjectiveConfig(GeneratorObjectiveConfig):
    """Settings of a generator scale by scale.

    Args:
        trunk: sizes of its transformer.
    """

    trunk: CausalConfig = CausalConfig()


class NextScaleObjective(GeneratorObjective):
    """Mean cross entropy of the tokens of all scales."""

    Config: ClassVar[type[NextScaleObjectiveConfig]] = NextScaleObjectiveConfig
    config: NextScaleObjectiveConfig
    model: NextScaleGenerator

    def make(self, strings: Strings, spec: TokenSpec, condition: ClassConfig | NoConditionConfig) -> NextScaleGenerator:
        settings = strings.settings
        if spec.scales is None or len(spec.codebook_sizes) > 1:
            lack = "several codebooks" if spec.scales else "no scales"
            raise ConfigError(f"{strings.name}: its strings have {lack}; this is for strings of several scales of one codebook (tokenflow)")
        network = NextScaleConfig(trunk=self.config.trunk, num_codes=spec.codebook_sizes[0], scales=spec.scales, condition=condition)
        return NextScaleGenerator(
            NextScaleGeneratorConfig(
                tokenizer=settings.tokenizer,
                code_digest=settings.code_digest,
                spec=settings.spec,
                class_names=settings.class_names if isinstance(condition, ClassConfig) else None,
                network=network,
            )
        )

    def losses(self, batch: StringBatch) -> Losses:
        logits = self.model.network(batch.ids[..., 0], self.given(batch), dropped=self.dropped(batch))
        return {"network": {"cross_entropy": cross_entropy(logits.float().transpose(1, 2), batch.ids[..., 0])}}
