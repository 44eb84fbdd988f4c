"""TiTok's and One-D-Piece's second stage: the decoder learns pixels, what makes tokens stays (arXiv 2406.07550, section 3.3)."""

from typing import Literal, Self, cast

import torch
from pydantic import BaseModel, ConfigDict, model_validator

from vtok.tokenizers.one_d_piece import OneDPiece
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.titok import Titok, TitokConfig
from vtok.train.objective import Losses
from vtok.train.objectives.by_pictures import PixelConfig, PixelObjective
from vtok.train.objectives.strings import RANDOM, loaded
from vtok.train.samples.batch import Batch
from vtok.train.samples.pictures import Pictures


class RandomStart(BaseModel):
    """A model with random weights, which a second stage is of no use for, but for checks.

    Args:
        family: of the tokenizer.
        model: sizes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    family: Literal["titok", "one_d_piece"] = "titok"
    model: TitokConfig


class TitokStage2Config(PixelConfig):
    """Settings of the training.

    Args:
        start: a model in its first stage, or one to be trained on, by name or folder; "random" makes `random_start`.
        random_start: what that is.
    """

    start: str
    random_start: RandomStart | None = None

    @model_validator(mode="after")
    def _random_start_is_there(self) -> Self:
        if (self.start == RANDOM) != (self.random_start is not None):
            raise ValueError('random_start belongs to start = "random", and that to a random_start')
        return self


class TitokStage2Objective(PixelObjective):
    """Losses of pictures alone.

    Raises:
        WeightsError: a start or a frozen network that is not at hand.
        ConfigError: a start of another family.
    """

    Config = TitokStage2Config
    config: TitokStage2Config
    model: Titok

    def __init__(self, config: TitokStage2Config):
        super().__init__(config)
        self._start: Titok | None = None
        if config.random_start is None:
            self._start = cast(Titok, loaded(config.start, (Titok,), "titok_stage2.start"))

    def make(self) -> Titok:
        """A model of the second stage, its weights still to be filled in."""
        if self.config.random_start is not None:
            random = self.config.random_start
            return (OneDPiece if random.family == OneDPiece.family else Titok)(random.model)
        return (OneDPiece if isinstance(self._start, OneDPiece) else Titok)(cast(Titok, self._start).config)

    def prepare(self, pictures: Pictures, generator: torch.Generator) -> Titok:
        model: Titok = super().prepare(pictures, generator)
        if self._start is not None:
            model.load_state_dict(self._start.state_dict())
        return model

    def begin(self, tokenizer: Pretrained, seed: int) -> None:
        self.model = model = cast(Titok, tokenizer)
        self._start = None  # its weights are in the tokenizer now, and nowhere else in checkpoints
        self.begin_with(model, seed, [model.decoder])

    def losses(self, batch: Batch) -> Losses:
        model = self.model
        with torch.no_grad():
            vectors = model.quantize(model.latents(batch.images)).vectors
        decodes = [model.reconstruct(vectors, own, self.options(batch)) for own in self.lengths(batch, model.spec)]
        return self.judged(batch, decodes, {})
