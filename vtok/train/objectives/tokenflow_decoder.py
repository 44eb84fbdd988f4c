"""TokenFlow's decoder, trained on or anew; what makes tokens stays (arXiv 2412.03069)."""

from typing import cast

import torch
from pydantic import Field

from vtok.errors import ConfigError
from vtok.models.conv import ConvConfig
from vtok.tokenizers.prefix import Full, FullRule
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.tokenflow import TokenflowConfig, TokenflowTokenizer
from vtok.train.objective import Losses
from vtok.train.objectives.by_pictures import PixelConfig, PixelObjective
from vtok.train.objectives.strings import SKIPS, drawn, loaded
from vtok.train.objectives.tokenflow import quantized_with_gaps
from vtok.train.samples.batch import Batch
from vtok.train.samples.draws import generator as draws_at
from vtok.train.samples.pictures import Pictures

FIRST = "project"  # the part of a decoder that widens vectors: it stays too


class TokenflowDecoderConfig(PixelConfig):
    """Settings of the training.

    Args:
        start: the model, by name or folder.
        decoder: sizes of a decoder that is drawn from the seed in the place of the model's own; None trains that on.
        prefix, skip: as of the training of the whole model.
    """

    start: str
    decoder: ConvConfig | None = None
    prefix: FullRule = Full()
    skip: float = Field(0.1, ge=0, lt=1)


class TokenflowDecoderObjective(PixelObjective):
    """Losses of pictures alone.

    Raises:
        WeightsError: a start or a frozen network that is not at hand.
        ConfigError: a start of another family, or a decoder that the part that stays does not fit.
    """

    Config = TokenflowDecoderConfig
    config: TokenflowDecoderConfig
    model: TokenflowTokenizer

    def __init__(self, config: TokenflowDecoderConfig):
        super().__init__(config)
        self._start: TokenflowTokenizer | None = cast(
            TokenflowTokenizer, loaded(config.start, (TokenflowTokenizer,), "tokenflow_decoder.start")
        )
        self.sizes = self._start.config
        if config.decoder is not None:
            if config.decoder.z_dim != (kept := self.sizes.decoder.z_dim):
                wrong = f"tokenflow_decoder.decoder.z_dim is {config.decoder.z_dim}, that of the start is {kept}"
                raise ConfigError(f"{wrong}; make them equal")
            self.sizes = TokenflowConfig(**dict(self.sizes) | {"decoder": config.decoder})

    def make(self) -> TokenflowTokenizer:
        return TokenflowTokenizer(self.sizes)

    def prepare(self, pictures: Pictures, generator: torch.Generator) -> TokenflowTokenizer:  # noqa: ARG002 - nothing is fitted
        model, start = drawn(self.make, generator.initial_seed()), cast(TokenflowTokenizer, self._start)
        kept = start.state_dict()
        if self.config.decoder is not None:
            kept = {name: value for name, value in kept.items() if not name.startswith("decoder.") or name.startswith(f"decoder.{FIRST}.")}
        model.load_state_dict(model.state_dict() | kept)
        return model

    def begin(self, tokenizer: Pretrained, seed: int) -> None:
        self.model = model = cast(TokenflowTokenizer, tokenizer)
        self._start = None  # its weights are in the tokenizer now, and nowhere else in checkpoints
        self.begin_with(model, seed, [part for name, part in model.decoder.named_children() if name != FIRST])

    def losses(self, batch: Batch) -> Losses:
        model = self.model
        with torch.no_grad():
            latents = model.latents(batch.images)
            vectors = quantized_with_gaps(model, latents, self.config.skip, draws_at(self.seed, batch.step, SKIPS)).vectors
        decodes = [model.reconstruct(vectors, own, self.options(batch)) for own in self.lengths(batch, model.spec)]
        return self.judged(batch, decodes, {})
