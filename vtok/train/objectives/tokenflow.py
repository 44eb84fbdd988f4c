"""TokenFlow (arXiv 2412.03069): learns from pixels, a discriminator and what a frozen tower says of each place, all at once."""

from typing import Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor

from vtok.models.quantizers import Quantized
from vtok.models.quantizers.multiscale import MultiscaleQuantizer
from vtok.tokenizers.prefix import Full, FullRule
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.tokenflow import TokenflowConfig, TokenflowTokenizer
from vtok.train.losses.tower_features import TowerFeatureConfig, TowerFeatureLoss
from vtok.train.losses.tower_teacher import TowerTeacher
from vtok.train.objectives.strings import RANDOM, SKIPS, drawn, loaded
from vtok.train.objectives.vq_pixels import VqPixelConfig, VqPixelObjective
from vtok.train.samples.batch import Batch
from vtok.train.samples.draws import generator as draws_at
from vtok.train.samples.pictures import Pictures

TEACHER = "teacher"  # as a start: the tower begins as the one that it is to agree with


class TokenflowObjectiveConfig(VqPixelConfig):
    """Settings of the training.

    Args:
        start: "teacher": the semantic encoder begins as the teacher, all else is drawn from the seed; "random": that too; otherwise weights
            to train on, by name or folder.
        model: sizes of a start that is drawn; another has its own.
        semantics: the teacher, a tower of the semantic encoder's sizes, and how much it counts.
        prefix: all tokens, always; `skip` prepares for fewer.
        skip: chance that a step leaves out one scale, any but the first.
    """

    start: str = TEACHER
    model: TokenflowConfig = TokenflowConfig()
    semantics: TowerFeatureConfig
    prefix: FullRule = Full()
    skip: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _a_random_teacher_is_no_start(self) -> Self:
        if self.start == TEACHER and self.semantics.teacher == RANDOM:
            raise ValueError('start = "teacher" needs a teacher, semantics.teacher = "random" is none; set start = "random" too')
        return self


class TokenflowObjective(VqPixelObjective):
    """Losses of pictures, of the quantizer and of what is told of the teacher's features.

    Raises:
        ConfigError: a start or a teacher of another kind, or one that says other numbers.
        MissingExtraError, WeightsError: a start or a frozen network that is not at hand, or a teacher of other sizes.
    """

    Config = TokenflowObjectiveConfig
    config: TokenflowObjectiveConfig
    model: TokenflowTokenizer

    def __init__(self, config: TokenflowObjectiveConfig):
        super().__init__(config)
        self._start: TokenflowTokenizer | None = None
        self.sizes = config.model
        if config.start not in (TEACHER, RANDOM):
            self._start = cast(TokenflowTokenizer, loaded(config.start, (TokenflowTokenizer,), "tokenflow.start"))
            self.sizes = self._start.config
        sizes = self.sizes
        self.semantics = TowerFeatureLoss(config.semantics, sizes.semantic_encoder, sizes.image_size, sizes.semantic_decoder.out_dim)

    def make(self) -> TokenflowTokenizer:
        return TokenflowTokenizer(self.sizes)

    def prepare(self, pictures: Pictures, generator: torch.Generator) -> TokenflowTokenizer:  # noqa: ARG002 - nothing is fitted
        if self._start is not None:
            return self._start
        model = drawn(self.make, generator.initial_seed())
        if self.config.start == TEACHER:
            model.semantic_encoder.load_state_dict(cast(TowerTeacher, self.semantics.teacher.network).tower.state_dict())
        return model

    def begin(self, tokenizer: Pretrained, seed: int) -> None:
        self._start = None  # its weights are in the tokenizer now, and nowhere else in checkpoints
        super().begin(tokenizer, seed)

    def quantized(self, batch: Batch, latents: Tensor) -> Quantized:
        return quantized_with_gaps(self.model, latents, self.config.skip, draws_at(self.seed, batch.step, SKIPS))

    def further_losses(self, batch: Batch, quantized: Quantized) -> dict[str, Tensor]:
        return {"semantics": self.semantics(self.model.semantics(quantized.vectors), batch.images)}


@torch.compiler.disable
def quantized_with_gaps(tokenizer: TokenflowTokenizer, latents: Tensor, chance: float, generator: torch.Generator) -> Quantized:
    """What is made of latents (B, N, D), with this chance without one scale, the same of all samples."""
    quantizer = tokenizer.quantizer
    if not isinstance(quantizer, MultiscaleQuantizer):
        return tokenizer.quantize(latents)
    found: Quantized = quantizer(latents, quantizer.draw_skipped(chance, generator))
    return found
