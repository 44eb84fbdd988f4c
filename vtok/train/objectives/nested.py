"""`nested`, trained so that every prefix is useful: all tokens and a random prefix decoded in each step (NesTok)."""

import math
from typing import Self, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from vtok.errors import ConfigError, VtokError, WeightsError
from vtok.eval.pairs.lpips import MIN_SIDE
from vtok.models.decoders import Decoded
from vtok.models.quantizers import Quantized
from vtok.models.quantizers.codebook_training import CodebookTrainingConfig
from vtok.models.quantizers.config import AnyConfig, GroupedConfig, QuantizerConfig, scales_of
from vtok.models.quantizers.config import build as build_quantizer
from vtok.models.quantizers.grouped_trained import TrainedGroupedQuantizer
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.nested import NestedConfig, NestedSizes, NestedTokenizer, tile_layout
from vtok.tokenizers.prefix import Pair, PrefixRule, draw_lengths
from vtok.tokenizers.spec import TokenSpec
from vtok.tokenizers.tiles import cut_tiles
from vtok.train.closed_form.first_codes import features_of_tiles, fill_with_latents, latents_of_tiles
from vtok.train.closed_form.refit import refit_unused
from vtok.train.codebook_steps import CodebookSteps
from vtok.train.config import DataConfig, OptimizerConfig
from vtok.train.frozen import frozen_autoencoder
from vtok.train.losses.adversary import Adversary, AdversaryConfig
from vtok.train.losses.alignment import alignment_features, alignment_loss
from vtok.train.losses.picture_losses import PictureLossConfig, PictureLosses
from vtok.train.losses.semantics import SemanticLoss, SemanticsConfig
from vtok.train.objective import Group, Losses
from vtok.train.objectives.linear import LinearObjective, LinearObjectiveConfig
from vtok.train.samples.batch import Batch
from vtok.train.samples.draws import generator as draws_at
from vtok.train.samples.latent_cache import autoencoder_digest
from vtok.train.samples.pictures import Pictures
from vtok.weights import load

TILES_PER_CODE = 8  # that tables are fitted anew on
USUAL_TILES = 2048  # whose features tell what is usual
LENGTHS, SPREAD, REVIVAL = range(3)  # what a draw is for


class NetworkOptimizer(OptimizerConfig):
    learning_rate: float = Field(6e-4, gt=0, le=1)


class DecoderOptimizer(OptimizerConfig):
    learning_rate: float = Field(2e-4, gt=0, le=1)


class CodesOptimizer(OptimizerConfig):
    learning_rate: float = Field(1e-4, gt=0, le=1)
    weight_decay: float = Field(0.0, ge=0)


class NestedObjectiveConfig(BaseModel):
    """Settings of the training.

    Args:
        start: "linear" fits the linear coder of the section `linear` first and begins with it; "random" begins with random weights;
            weights by name or folder of the family `linear` are begun with, those of `nested` are trained on.
        linear: the linear start; a random one takes its autoencoder and its tiles.
        model: sizes; those of a `nested` start are its own.
        quantizer: of a random start, and of a linear one, whose components it codes, each vector the next ones; None takes the tables of
            the linear coder itself.
        prefix: how many tokens a step decodes.
        refit_below: tables of a `nested` start that use less than this share of their codes are fitted anew before the first step; 0: none.
        spread: largest factor, in octaves, by which the tiles of a picture differ from the prefix drawn for it; a codec gives each its own.
        pictures: losses between picture and reconstruction.
        networks_from: tokens a tile from which the losses of networks (LPIPS, features) count in full; with a part of so many tokens they
            count by the square of the part, since texture that one token cannot know of pleases them.
        alignment: weight of a prefix's first decoder features against those of all tokens, where both are decoded.
        vq: how tables of VQ are learned.
        semantics: a part of each token's vector that is to say what a picture shows; None leaves it out.
        adversary: a discriminator that judges the last decode of a step; None leaves it out.
        network, autoencoder_decoder, codes: updates of the transformers, of the autoencoder's decoder, of the codes; the linear part stays.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    start: str = "linear"
    linear: LinearObjectiveConfig = LinearObjectiveConfig()
    model: NestedSizes = NestedSizes()
    quantizer: QuantizerConfig | None = None
    prefix: PrefixRule = Pair()
    refit_below: float = Field(0.0, ge=0, le=1)
    spread: float = Field(0.0, ge=0, le=8)
    pictures: PictureLossConfig = PictureLossConfig()
    networks_from: int = Field(1, ge=1)
    alignment: float = Field(1.0, ge=0)
    vq: CodebookTrainingConfig = CodebookTrainingConfig()
    semantics: SemanticsConfig | None = None
    adversary: AdversaryConfig | None = None
    network: NetworkOptimizer = NetworkOptimizer()
    autoencoder_decoder: DecoderOptimizer = DecoderOptimizer()
    codes: CodesOptimizer = CodesOptimizer()

    @model_validator(mode="after")
    def _quantizer_fits_the_start(self) -> Self:
        if self.start == "random" and (self.quantizer is None or isinstance(self.quantizer, GroupedConfig)):
            raise ValueError('start = "random" needs a quantizer, and not "grouped", which is what a linear start brings')
        if self.start not in ("random", "linear") and self.quantizer is not None:
            raise ValueError('a quantizer belongs to start = "random" or "linear"; weights bring their own')
        if isinstance(self.quantizer, GroupedConfig):
            raise ValueError('leave out the quantizer "grouped": a linear start brings it')
        return self


class NestedObjective(nn.Module):
    """All of `nested`'s training.

    Raises:
        ConfigError: a tile that is not a whole number of patches, or a start of another family.
        WeightsError: a start or a frozen network that is not at hand.
    """

    takes_strings = False
    Config = NestedObjectiveConfig
    model: NestedTokenizer
    groups: tuple[Group, ...]

    def __init__(self, config: NestedObjectiveConfig):
        super().__init__()
        self.config = config
        self.pictures = PictureLosses(config.pictures)
        self.semantics: SemanticLoss | None = None
        if config.semantics is not None:
            self.semantics = SemanticLoss(config.semantics)
        self._start: Tokenizer | LinearObjective | None = None
        if config.start == "linear":
            self._start = LinearObjective(config.linear)
            tile_layout(self._start.autoencoder, config.linear.tile_size, config.model.patch_size)  # before the fit, which takes its time
        elif config.start != "random":
            self._start = _loaded(config.start)

    def check(self, data: DataConfig) -> None:
        spec, size = self._expected_spec(), data.crop_size
        if size % spec.input_size[0]:
            raise ConfigError(f"data.crop_size is {size} pixels, expected a multiple of the tokenizer's tile of {spec.input_size[0]}")
        if self.config.pictures.lpips and size < MIN_SIDE:
            raise ConfigError(f"data.crop_size is {size} pixels, LPIPS takes {MIN_SIDE} and more; set nested.pictures.lpips = 0")
        if self.config.adversary is not None and size < (least := self.config.adversary.discriminator.least_side):
            to_do = "lower nested.adversary.discriminator.depth"
            raise ConfigError(f"data.crop_size is {size} pixels, a discriminator of this depth needs {least}; {to_do}")
        prefix = self.config.prefix
        (prefix.of if isinstance(prefix, Pair) else prefix).chances(spec)

    def _expected_spec(self) -> TokenSpec:
        """Of the tokenizer that `prepare` will give, but for the sizes of its codebooks."""
        if isinstance(self._start, Tokenizer):
            return self._start.spec
        linear, quantizer = self.config.linear, self.config.quantizer
        size = (linear.tile_size, linear.tile_size)
        if quantizer is None:
            num_tokens = sum(stage.tokens for stage in linear.stages)
            return TokenSpec((linear.codebook_size,), num_tokens, tuple(range(1, num_tokens + 1)), size, size)
        built = build_quantizer(quantizer)
        lengths = built.prefix_lengths(quantizer.num_latents)
        return TokenSpec(built.codebook_sizes, lengths[-1], lengths, size, size, scales=scales_of(quantizer))

    def prepare(self, pictures: Pictures, generator: torch.Generator) -> NestedTokenizer:
        model = self._prepared(pictures, generator)
        if self.semantics is not None:
            self.semantics.learn_usual(features_of_tiles(self.semantics, model.spec.input_size[0], pictures, USUAL_TILES))
        return model

    def _prepared(self, pictures: Pictures, generator: torch.Generator) -> NestedTokenizer:
        if isinstance(self._start, LinearObjective) and self.config.quantizer is not None:
            return self._on_components(self._start, self.config.quantizer, pictures, generator).eval()
        start = self._start.prepare(pictures, generator) if isinstance(self._start, LinearObjective) else self._start
        if isinstance(start, NestedTokenizer):
            return self._refitted(start, pictures, generator)
        with torch.random.fork_rng([]):
            torch.manual_seed(generator.initial_seed())
            if isinstance(start, LinearTokenizer):
                return NestedTokenizer.start_from(start, **dict(self.config.model)).eval()
            return self._random(pictures, generator).eval()

    def _refitted(self, start: NestedTokenizer, pictures: Pictures, generator: torch.Generator) -> NestedTokenizer:
        least_use, quantizer = self.config.refit_below, start.quantizer
        if least_use and isinstance(quantizer, TrainedGroupedQuantizer):
            num_tiles = TILES_PER_CODE * quantizer.codebook_sizes[0]
            refit_unused(quantizer, latents_of_tiles(start, pictures, num_tiles)[:, 0], least_use, generator)
        return start

    def _random(self, pictures: Pictures, generator: torch.Generator) -> NestedTokenizer:
        linear = self.config.linear
        config, autoencoder = frozen_autoencoder(linear.autoencoder, linear.autoencoder_weights, linear.tile_size)
        sizes = {"autoencoder": config, "tile_size": linear.tile_size, "quantizer": self.config.quantizer, "linear": False}
        model = NestedTokenizer(NestedConfig.model_validate({**dict(self.config.model), **sizes}))
        model.autoencoder.load_state_dict(autoencoder.state_dict())
        fill_with_latents(model, pictures, generator)
        return model

    def _on_components(
        self, objective: LinearObjective, quantizer: AnyConfig, pictures: Pictures, generator: torch.Generator
    ) -> NestedTokenizer:
        """A linear coding by principal components, and the quantizer in place of the coder's own tables."""
        sizes = {"autoencoder": objective.autoencoder_config, "tile_size": objective.config.tile_size, "quantizer": quantizer}
        with torch.random.fork_rng([]):
            torch.manual_seed(generator.initial_seed())
            model = NestedTokenizer(NestedConfig.model_validate({**dict(self.config.model), **sizes, "linear": True}))
        components, points = objective.components(pictures, generator)
        num = model.component_scales.numel()
        if points.shape[1] < num:
            to_do = f"raise linear.max_components, now {objective.config.max_components}, or lower the quantizer's"
            raise ConfigError(f"the quantizer codes {num} components of a tile, there are {points.shape[1]}; {to_do}")
        model.autoencoder.load_state_dict(objective.autoencoder.state_dict())
        model.take_components(components.mean, components.analysis[:num], components.synthesis[:, :num], points[:, :num].std(0))
        fill_with_latents(model, pictures, generator)
        return model

    def begin(self, tokenizer: Tokenizer, seed: int) -> None:
        self.model = model = cast(NestedTokenizer, tokenizer).train()
        self.seed = seed
        self._start = None
        model.requires_grad_(True)
        model.autoencoder.requires_grad_(False)
        decoder = model.autoencoder.decoder_parameters()
        for parameter in decoder:
            parameter.requires_grad_(True)
        quantizer = model.quantizer
        self.vq = CodebookSteps(quantizer, self.config.vq)
        if model.linear is not None:
            model.linear.requires_grad_(False)  # a small step of each entry adds up over all components of a tile
        codes = [parameter for parameter in quantizer.parameters() if parameter.requires_grad]
        elsewhere = {id(parameter) for parameter in (*codes, *decoder)}
        network = [parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) not in elsewhere]
        if self.semantics is not None:
            self.semantics.begin(model.config.quantizer.num_latents, quantizer.dim, seed)
            network += self.semantics.parameters()
        groups = [
            Group("network", network, self.config.network),
            Group("autoencoder_decoder", decoder, self.config.autoencoder_decoder),
            Group("codes", codes, self.config.codes),
        ]
        self.adversary = None if self.config.adversary is None else Adversary(self.config.adversary)
        if self.adversary is not None:
            own = self.adversary.config
            groups.append(Group("discriminator", list(self.adversary.parameters()), own.optimizer, own.first_step))
        self.groups = tuple(group for group in groups if group.parameters)

    def latents_digest(self) -> str:
        return autoencoder_digest(self.model.autoencoder)

    def losses(self, batch: Batch) -> Losses:
        model, config = self.model, self.config
        latents = model.latents_of(self._maps(batch))
        quantized = model.quantize(latents)
        lengths = self._lengths(batch)
        prefixes = [self._prefix(quantized, own) for own in lengths]
        decodes = [model.decode_map(*pair, *self._grid(batch)) for pair in zip(prefixes, lengths, strict=True)]
        target = self.pictures.target(batch.images)
        shares = [(own / config.networks_from).clamp(max=1).square().view(len(batch.images), -1).mean(1) for own in lengths]
        found = [self.pictures(decoded.pictures.float(), target, share) for decoded, share in zip(decodes, shares, strict=True)]
        losses = {name: torch.stack([own[name] for own in found]).sum() for name in found[0]}
        if config.alignment and len(decodes) > 1:
            losses["alignment"] = config.alignment * alignment_loss(_features(decodes[1]), _features(decodes[0])).mean()
        if self.semantics is not None:
            shown = self.semantics.target(cut_tiles(batch.images, model.spec.input_size))
            told = [self.semantics(own * model.covered(length).view_as(own), shown) for own, length in zip(prefixes, lengths, strict=True)]
            losses["semantics"] = torch.stack(told).sum()
        losses |= self.vq.losses(model.in_units(latents), quantized)
        return self._with_adversary(batch, decodes[-1].pictures, losses)

    def _with_adversary(self, batch: Batch, pictures: Tensor, losses: dict[str, Tensor]) -> Losses:
        if self.adversary is None or not self.adversary.has_begun(batch.step):
            return {"network": losses}
        felt = self.adversary.loss_of_pictures(pictures, batch.step)
        if felt is not None:
            losses["adversarial"] = felt
        return {"network": losses, "discriminator": self.adversary.losses_of_discriminator(batch.images, pictures)}

    @torch.no_grad()
    def _maps(self, batch: Batch) -> Tensor:
        if batch.latents is None or self.model.codes_pixels:
            return self.model.map_of(batch.images)
        return batch.latents

    def _grid(self, batch: Batch) -> tuple[int, int]:
        """Rows and columns of tiles of each image."""
        height, width = self.model.spec.input_size
        return batch.images.shape[2] // height, batch.images.shape[3] // width

    def _prefix(self, quantized: Quantized, lengths: Tensor) -> Tensor:
        """Vectors of prefixes; gradients reach the codes through `lookup`, the encoder through what the quantizer lets through."""
        model = self.model
        covered = model.covered(lengths).view_as(quantized.vectors)
        let_through = quantized.vectors - quantized.vectors.detach()  # 0, but for gradients
        looked_up = model.lookup(quantized.ids, lengths)
        return (looked_up.detach() if model.quantizer.vectors_reach_codes else looked_up) + covered * let_through

    def _lengths(self, batch: Batch) -> list[Tensor]:
        """(B * rows * cols,) tokens of each tile, for each decode of the step."""
        spec, config, tiles = self.model.spec, self.config, math.prod(self._grid(batch))
        drawn = draw_lengths(config.prefix, spec, batch.indices, draws_at(self.seed, batch.step, LENGTHS))
        lengths = [own.repeat_interleave(tiles) for own in drawn]
        if config.spread:
            lengths[-1] = self._spread(lengths[-1], batch, tiles)
        return [own.to(batch.images.device) for own in lengths]

    def _spread(self, lengths: Tensor, batch: Batch, tiles: int) -> Tensor:
        """Each tile's own length, around that of its picture, which has its own strength of the spread."""
        generator = draws_at(self.seed, batch.step, SPREAD)
        draws = torch.rand(int(batch.indices.max()) + 1, 1 + tiles, generator=generator)[batch.indices]
        octaves = self.config.spread * draws[:, :1] * (2 * draws[:, 1:] - 1)
        own = (lengths * octaves.flatten().exp2()).round().long()
        return own.clamp(1, self.model.spec.max_tokens)

    @torch.no_grad()
    def after_step(self, step: int, ema: Tokenizer) -> None:
        if self.adversary is not None:
            self.adversary.after_step()
        self.vq.after_step(self.model.quantizer, cast(NestedTokenizer, ema).quantizer, draws_at(self.seed, step, REVIVAL))


def _features(decoded: Decoded) -> Tensor:
    return alignment_features(decoded.features["registers"].flatten(0, 2), decoded.features["patches"].flatten(0, 2))


def _loaded(start: str) -> Tokenizer:
    try:
        model = load(start)
    except VtokError as error:
        raise WeightsError(f'start = "{start}": {error}; give "linear", "random", a name of `vtok models` or a model folder') from None
    if not isinstance(model, LinearTokenizer | NestedTokenizer):
        raise ConfigError(f'start = "{start}": a {model.family} model; nested starts from linear or nested')
    return model
