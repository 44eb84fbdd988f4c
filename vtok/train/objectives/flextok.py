"""FlexTok (arXiv 2502.13967): encoder and rectified-flow decoder learn together from the velocity alone."""

from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor

from vtok.errors import ConfigError
from vtok.models.decoders.flow import FlowDecoder
from vtok.models.flow.path import RECTIFIED
from vtok.models.flow.times import ModeTimes, TimeDistribution
from vtok.models.quantizers.codebook_training import CodebookTrainingConfig
from vtok.tokenizers.flextok import FlextokConfig, FlextokSizes, FlextokTokenizer
from vtok.tokenizers.prefix import Pow2, PrefixRule
from vtok.tokenizers.pretrained import Pretrained
from vtok.train.codebook_steps import CodebookSteps
from vtok.train.frozen import frozen_autoencoder
from vtok.train.losses.representation import RepresentationConfig, RepresentationLoss
from vtok.train.objective import Losses
from vtok.train.objectives.strings import DROPS, NOISE, RANDOM, REVIVAL, TIMES, StringConfig, StringObjective, drawn, loaded
from vtok.train.samples.batch import Batch
from vtok.train.samples.draws import generator as draws_at
from vtok.train.samples.draws import noise as noise_of
from vtok.train.samples.latent_cache import autoencoder_digest
from vtok.train.samples.pictures import Pictures

NO_AUTOENCODER = "none"


class FlextokObjectiveConfig(StringConfig):
    """Settings of the training.

    Args:
        start: weights to train on, by name or folder; "random": none but those drawn from the seed.
        autoencoder: what makes the map of a random start: "none" for the pixels themselves, "taef2", a folder in diffusers' layout, or one
            of the family `vae`.
        autoencoder_weights: a .safetensors file for "taef2"; empty takes those in the package.
        model: sizes of a random start; another has its own.
        times: how often each time is drawn.
        null_share: part of the samples whose decoder is told nothing, so that it can be guided.
        vq: weights of the losses of a quantizer that has some, and how its tables are learned.
        representation: alignment of the decoder's features with a vision transformer's; None leaves it out.
    """

    start: str = RANDOM
    autoencoder: str = NO_AUTOENCODER
    autoencoder_weights: str = ""
    model: FlextokSizes = FlextokSizes()
    prefix: PrefixRule = Pow2()
    times: TimeDistribution = ModeTimes()
    null_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    vq: CodebookTrainingConfig = CodebookTrainingConfig()
    representation: RepresentationConfig | None = None


class FlextokObjective(StringObjective):
    """The mean squared error of the velocity, of prefixes and of no condition at all.

    Raises:
        ConfigError: a picture that is no whole number of patches, or a layer that the decoder does not have.
        MissingExtraError, WeightsError: a start, an autoencoder or a teacher that is not at hand.
    """

    Config = FlextokObjectiveConfig
    config: FlextokObjectiveConfig
    model: FlextokTokenizer

    def __init__(self, config: FlextokObjectiveConfig):
        super().__init__()
        self.config = config
        self._start: FlextokTokenizer | None = None
        self._autoencoder = None
        sizes = FlextokConfig(**dict(config.model))
        if config.start != RANDOM:
            self._start = cast(FlextokTokenizer, loaded(config.start, (FlextokTokenizer,), "flextok.start"))
            sizes = self._start.config
        elif config.autoencoder != NO_AUTOENCODER:
            found, self._autoencoder = frozen_autoencoder(config.autoencoder, config.autoencoder_weights, config.model.image_size)
            sizes = FlextokConfig(**dict(config.model), autoencoder=found)
        self.sizes = sizes
        self.takes_latents = sizes.autoencoder is not None
        self.representation = None
        if config.representation is not None:
            if config.representation.layer >= sizes.decoder.depth:
                raise ConfigError(f"flextok.representation.layer is {config.representation.layer}, the decoder has {sizes.decoder.depth}")
            self.representation = RepresentationLoss(config.representation, sizes.decoder.dim)

    def make(self) -> FlextokTokenizer:
        return FlextokTokenizer(self.sizes)

    def prepare(self, pictures: Pictures, generator: torch.Generator) -> FlextokTokenizer:  # noqa: ARG002 - nothing is fitted
        if self._start is not None:
            return self._start
        model = drawn(self.make, generator.initial_seed())
        if model.autoencoder is not None and self._autoencoder is not None:
            model.autoencoder.load_state_dict(self._autoencoder.state_dict())
        return model

    def begin(self, tokenizer: Pretrained, seed: int) -> None:
        self.model = model = cast(FlextokTokenizer, tokenizer)
        self._start = self._autoencoder = None
        beside = [] if self.representation is None else [self.representation]
        for part in beside:
            part.begin(seed)
        self.begin_with(model, seed, [model.encoder, model.quantizer, model.decoder, *beside])
        self.vq = CodebookSteps(model.quantizer, self.config.vq)

    def latents_digest(self) -> str:
        autoencoder = self.model.autoencoder
        return "" if autoencoder is None else autoencoder_digest(autoencoder)

    def losses(self, batch: Batch) -> Losses:
        model, alignment = self.model, self.representation
        decoder: FlowDecoder = model.decoder
        maps = self._maps(batch)
        latents = model.encoder(maps)
        quantized = model.quantize(latents)
        vectors = quantized.vectors
        noise, times, dropped = self._draws(batch, maps)
        noisy, wanted, modulations = RECTIFIED.at(maps, noise, times), RECTIFIED.velocity(maps, noise), decoder.modulations(times)
        noted = None if alignment is None else alignment.config.layer
        wanted_features = None if alignment is None else alignment.target(batch.images)
        flow, aligned = [], []
        for lengths in self.lengths(batch, model.spec):
            velocity, seen = decoder(noisy, modulations, decoder.condition(vectors, lengths, dropped), noted=noted)
            flow.append((velocity.float() - wanted).square().mean())
            if alignment is not None:
                patches = seen[:, : decoder.positions[..., 0].numel()]
                aligned.append(alignment.config.weight * alignment(patches, wanted_features))
        losses = {"flow": torch.stack(flow).sum(), **self.vq.losses(latents, quantized)}
        return {"network": losses | ({"representation": torch.stack(aligned).sum()} if aligned else {})}

    def after_step(self, step: int, ema: Pretrained) -> None:
        self.vq.after_step(self.model.quantizer, cast(FlextokTokenizer, ema).quantizer, draws_at(self.seed, step, REVIVAL))

    @torch.no_grad()
    def _maps(self, batch: Batch) -> Tensor:
        if batch.latents is not None and self.model.autoencoder is not None:
            return batch.latents.float()
        return self.model.map_of(batch.images)

    @torch.compiler.disable
    def _draws(self, batch: Batch, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Noise (B, C, h, w), times (B,) and whether the decoder is told nothing (B,), each sample's own by its index."""
        noise = noise_of(batch.indices, maps.shape[1:], self.seed, batch.step, NOISE)
        num = int(batch.indices.max()) + 1
        share = torch.rand(num, dtype=torch.float64, generator=draws_at(self.seed, batch.step, TIMES))[batch.indices]
        drop = torch.rand(num, generator=draws_at(self.seed, batch.step, DROPS))[batch.indices] < self.config.null_share
        times = self.config.times.at(share).float()
        return noise.to(maps.device), times.to(maps.device), drop.to(maps.device)
