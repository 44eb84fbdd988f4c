"""Training of an autoregressive generator: each token from those before it (LlamaGen, arXiv 2406.06525, section 2.2)."""

from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from vtok.data.token_shards.memory import Strings
from vtok.generate.families.gpt import GptGenerator, GptGeneratorConfig
from vtok.generate.objectives.strings import GeneratorObjective, GeneratorObjectiveConfig
from vtok.generate.placed_start import fill_frequencies, fill_vectors
from vtok.models.causal_transformer import CausalConfig
from vtok.models.conditions import ClassConfig, NoConditionConfig
from vtok.models.gpt import GptConfig
from vtok.models.placed_codes import PlacedEmbeddings, PlacedHead
from vtok.tokenizers.spec import TokenSpec
from vtok.train.objective import Losses
from vtok.train.samples.batch import StringBatch
from vtok.weights.load import load_tokenizer


class GptNetworkConfig(BaseModel):
    """The part of `GptConfig` that the strings do not decide; see there."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    trunk: CausalConfig = CausalConfig()
    head: Literal["parallel", "autoregressive", "flattened"] = "parallel"
    head_depth: int = Field(0, ge=0, le=64)
    codes: Literal["shared", "placed"] = "shared"
    code_rank: int = Field(16, ge=1, le=1024)
    token_dropout: float = Field(0.1, ge=0, lt=1)


class GptObjectiveConfig(GeneratorObjectiveConfig):
    """Settings of an autoregressive generator.

    Args:
        network: its sizes.
    """

    network: GptNetworkConfig = GptNetworkConfig()


class GptObjective(GeneratorObjective):
    """Mean cross entropy of the tokens, one for each codebook."""

    Config: ClassVar[type[GptObjectiveConfig]] = GptObjectiveConfig
    config: GptObjectiveConfig
    model: GptGenerator

    def make(self, strings: Strings, spec: TokenSpec, condition: ClassConfig | NoConditionConfig) -> GptGenerator:
        settings = strings.settings
        own = self.config.network.model_dump()
        shape = (spec.max_tokens,) if spec.grid is None else spec.grid
        network = GptConfig(**own, codebook_sizes=spec.codebook_sizes, shape=shape, condition=condition)
        config = GptGeneratorConfig(
            tokenizer=settings.tokenizer,
            code_digest=settings.code_digest,
            spec=settings.spec,
            class_names=settings.class_names if isinstance(condition, ClassConfig) else None,
            network=network,
        )
        generator = GptGenerator(config)
        embeddings, head = generator.network.embeddings, generator.network.head
        if isinstance(embeddings, PlacedEmbeddings) and isinstance(head, PlacedHead):
            tokenizer = load_tokenizer(settings.tokenizer)
            generator.check_tokenizer(tokenizer, settings.tokenizer)
            fill_vectors(embeddings, tokenizer)
            fill_frequencies(head, strings)
        return generator

    def losses(self, batch: StringBatch) -> Losses:
        logits = self.model.logits(batch.ids, self.given(batch), self.dropped(batch))
        counts = torch.arange(batch.ids.shape[1], device=batch.device) < batch.lengths[:, None]  # (B, N)
        return {"network": {_name(k, logits): _mean(own, batch.ids[..., k], counts) for k, own in enumerate(logits)}}


def _name(codebook: int, logits: list[Tensor]) -> str:
    return "cross_entropy" if len(logits) == 1 else f"cross_entropy_{codebook}"


def _mean(logits: Tensor, ids: Tensor, counts: Tensor) -> Tensor:
    each = cross_entropy(logits.float().transpose(1, 2), ids, reduction="none")  # (B, N)
    return (each * counts).sum() / counts.sum()
