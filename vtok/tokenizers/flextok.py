"""FlexTok (arXiv 2502.13967): a picture in up to 256 tokens of which any number decodes, by a rectified-flow decoder.

A frozen autoencoder turns a picture into a map of latents; without one the picture itself, in [-1, 1], is the map. An encoder gathers the
map in registers, each of which knows of those before it alone; they are quantised. The decoder turns noise into the map in some steps,
told of the registers that are there. Where few are, it makes up what they leave open, by its seed.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from vtok.errors import ConfigError
from vtok.models.autoencoders import Autoencoder, AutoencoderConfig, build
from vtok.models.autoencoders.registry import PixelsConfig
from vtok.models.decoders import Decoded, DecodeOptions
from vtok.models.decoders.base import MAX_STEPS, GuidanceRule
from vtok.models.decoders.flow import Condition, FlowDecoder
from vtok.models.flow.guidance import RULES, guided
from vtok.models.flow.noise import noise_field
from vtok.models.flow.solvers import solve
from vtok.models.flow.times import time_grid
from vtok.models.quantizers import Quantized, Quantizer
from vtok.models.quantizers.config import FsqByDefault, FsqConfig
from vtok.models.quantizers.config import build as build_quantizer
from vtok.models.register_encoder import RegisterEncoder
from vtok.models.transformer import TransformerConfig
from vtok.tokenizers.base import Place, Tokenizer, Tokens
from vtok.tokenizers.checks import eighth_of_a_tile
from vtok.tokenizers.prefix_errors import errors_of_prefixes
from vtok.tokenizers.spec import TokenSpec
from vtok.tokenizers.tiles import cut_tiles, runs
from vtok.tokenizers.titok import scattered

MAX_NUMBERS = 2**32  # a configuration comes from a file: what it asks for is bounded before it is made


class SamplingConfig(BaseModel):
    """How a model decodes unless it is told otherwise.

    Args:
        steps: of the solver.
        solver: "euler" asks the network once a step, "heun" twice.
        guidance: how much more is made of the tokens than without guidance, which is 1; other values ask the network twice as often.
        guidance_rule: "apg" keeps colours natural at large scales, "cfg" is the plain difference.
        shift: above 1, more of the steps lie near noise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: int = Field(20, ge=1, le=MAX_STEPS)
    solver: Literal["euler", "heun"] = "euler"
    guidance: float = Field(7.5, ge=0, allow_inf_nan=False)
    guidance_rule: GuidanceRule = "apg"
    shift: float = Field(1.0, gt=0, le=100)


class FlextokSizes(BaseModel):
    """What an autoencoder does not decide of a FlexTok.

    Args:
        image_size: side in pixels.
        patch_size: side of a patch in cells of the map, which are latents, or pixels without an autoencoder.
        quantizer: what makes tokens of registers; FSQ as published, or any that makes one of each.
        encoder, decoder: their transformers.
        max_time: sets the rates at which the decoder sees times in [0, 1]: 1.0 suits them; the published models have 1000.
        sample_posterior: encode a draw from the autoencoder's distribution, by torch's global generator, as the published code does; then
            a picture has other tokens each time. Otherwise its most probable latents.
        sampling: how it decodes unless it is told otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    image_size: int = Field(256, ge=4, le=4096)
    patch_size: int = Field(2, ge=1, le=64)
    quantizer: FsqByDefault = FsqConfig(num_tokens=256, levels=(8, 8, 8, 5, 5, 5))
    encoder: TransformerConfig = TransformerConfig(dim=768, depth=12, heads=12)
    decoder: TransformerConfig = TransformerConfig(dim=768, depth=12, heads=12)
    max_time: float = Field(1.0, gt=0, le=1e6)
    sample_posterior: bool = False
    sampling: SamplingConfig = SamplingConfig()

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        cells = (self.image_size // self.patch_size) ** 2
        for name, own, per_block in (("encoder", self.encoder, 12), ("decoder", self.decoder, 24)):
            if own.dim % 4:
                raise ValueError(f"the {name}'s dim {own.dim} is not a multiple of 4")
            if (size := own.dim * (per_block * own.depth * own.dim + cells + self.quantizer.num_tokens)) > MAX_NUMBERS:
                raise ValueError(f"the {name} would have {size:,} numbers, at most {MAX_NUMBERS:,} are allowed")
        return self


class FlextokConfig(FlextokSizes):
    """A FlexTok.

    Args:
        autoencoder: what makes the map; None takes the picture itself.
    """

    autoencoder: AutoencoderConfig | None = None


class FlextokTokenizer(Tokenizer):
    """Nested strings with a rectified-flow decoder.

    Raises:
        ConfigError: a picture that is not a whole number of latents or patches, or an autoencoder without a network.
    """

    family = "flextok"
    Config = FlextokConfig
    errors_of_decodes = True
    decode_options = frozenset({"steps", "solver", "guidance", "guidance_rule", "seed"})

    def __init__(self, config: FlextokConfig):
        super().__init__()
        self.config = config
        if isinstance(config.autoencoder, PixelsConfig):
            raise ConfigError(
                'the autoencoder "pixels" keeps low frequencies alone; leave the autoencoder out to code the pixels themselves'
            )
        self.autoencoder: Autoencoder | None = None if config.autoencoder is None else build(config.autoencoder)
        self.downsample, self.channels = (1, 3) if self.autoencoder is None else (self.autoencoder.downsample, self.autoencoder.channels)
        step = self.downsample * config.patch_size
        if config.image_size % step:
            raise ConfigError(f"image_size {config.image_size} is not a multiple of the {step} pixels of a patch")
        self.quantizer: Quantizer = build_quantizer(config.quantizer)
        num_tokens, side = config.quantizer.num_tokens, config.image_size // step
        shape = (self.channels, config.patch_size, side, num_tokens, self.quantizer.dim)
        self.encoder = RegisterEncoder(config.encoder, *shape)
        self.decoder = FlowDecoder(config.decoder, *shape, max_time=config.max_time)
        size = (config.image_size, config.image_size)
        self.spec = TokenSpec(self.quantizer.codebook_sizes, num_tokens, tuple(range(1, num_tokens + 1)), size, size)

    @classmethod
    def tiny(cls) -> Self:
        """6 tokens of 60 codes for 16 pixels a side, without an autoencoder; 2 steps; seeded random weights."""
        network = TransformerConfig(dim=16, depth=2, heads=2)
        quantizer, sampling = FsqConfig(num_tokens=6, levels=(4, 5, 3)), SamplingConfig(steps=2, guidance=2.0)
        config = FlextokConfig(image_size=16, patch_size=4, quantizer=quantizer, encoder=network, decoder=network, sampling=sampling)
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return scattered(cls(config))

    @property
    def default_overlap(self) -> int:
        """An eighth of a tile: tiles do not see each other."""
        return eighth_of_a_tile(self.spec)

    def code_state(self) -> Mapping[str, Tensor]:
        """What maps registers to codes; another decoder of the same encoder's strings leaves it as it is."""
        return {name: value for name, value in self.state_dict().items() if name.startswith(("quantizer.", "encoder.head."))}

    def after_load(self) -> None:
        """All runs in float32."""
        self.float()
        if self.autoencoder is not None:
            self.autoencoder.to(memory_format=torch.channels_last)  # convolutions on a processor are faster so

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether the blocks of the transformers are computed again in the backward pass, which saves memory."""
        self.encoder.checkpointing = self.decoder.trunk.checkpointing = on

    def use_flex_attention(self) -> None:
        """Encode by a compiled attention from now on, see `models/flex_attention`; ids stay what they are. Not for training."""
        from vtok.models.flex_attention import compiled_patches_then_registers  # takes a quarter of a second

        self.encoder.attention_of = compiled_patches_then_registers

    def map_of(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to the map (B, C, h, w) that is coded: latents, or the images in [-1, 1]."""
        images = images.float()
        if self.autoencoder is None:
            return images * 2 - 1
        return self.autoencoder.sample(images) if self.config.sample_posterior else self.autoencoder.encode(images)

    def pictures_of(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) to pictures (B, 3, H, W), not clamped to [0, 1]."""
        return (maps + 1) / 2 if self.autoencoder is None else self.autoencoder.decode(maps)

    def latents(self, images: Tensor) -> Tensor:
        out: Tensor = self.encoder(self.map_of(images))
        return out

    def quantize(self, latents: Tensor) -> Quantized:
        quantized: Quantized = self.quantizer(latents)
        return quantized

    def lookup(self, ids: Tensor, lengths: Tensor) -> Tensor:
        return self.quantizer.lookup(ids, lengths)

    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:
        """Each string as a picture of its own; the features are the map."""
        return self._reconstruct(vectors, lengths, options, [(0, 0)] * len(vectors))

    def sample_maps(self, vectors: Tensor, lengths: Tensor, noise: Tensor, options: DecodeOptions) -> Tensor:
        """Maps (B, C, h, w) that strings cut to `lengths` (B,) make of noise (B, C, h, w).

        Args:
            vectors: (B, n, D).

        Raises:
            UnsupportedError: no such solver.
        """
        own = self.config.sampling
        scale = own.guidance if options.guidance is None else options.guidance
        times = time_grid(options.steps or own.steps, shift=own.shift)
        under = self.decoder.at_times(times[:-1])
        told, untold = under(self.decoder.condition(vectors, lengths)), under(self.decoder.no_condition(len(vectors)))
        velocity = guided(told, untold, scale=lambda _: scale, rule=RULES[options.guidance_rule or own.guidance_rule]())

        def tell(step: int, _: Tensor) -> None:
            if options.progress is not None:
                options.progress(step / (len(times) - 1))

        return solve(velocity, noise, times, options.solver or own.solver, after_step=tell)

    def noise(self, seed: int | Sequence[int] | None, places: Sequence[Place]) -> Tensor:
        """Where decoding begins: noise (B, C, h, w) by a seed, or one a string, and by place in the picture alone.

        Args:
            seed: None is 0.
            places: of each string's tile, in pixels of the source.

        Raises:
            ValueError: seeds of another number of strings.
        """
        side = self.config.image_size // self.downsample
        seeds = [seed or 0] * len(places) if seed is None or isinstance(seed, int) else seed
        if len(seeds) != len(places):
            raise ValueError(f"seeds of {len(seeds)} strings given, {len(places)} are decoded")
        corners = [(top // self.downsample, left // self.downsample) for top, left in places]
        fields = [noise_field(own, self.channels, *corner, side, side) for own, corner in zip(seeds, corners, strict=True)]
        return torch.stack(fields).to(self.decoder.mask_token.device)

    @torch.no_grad()
    def decode_at(self, tokens: Tokens, options: DecodeOptions, places: Sequence[Place]) -> Tensor:
        self._check_decode(tokens, options)
        vectors = self.lookup(tokens.ids, tokens.lengths)
        return self._reconstruct(vectors, tokens.lengths, options, places).pictures.clamp(0, 1)

    @torch.no_grad()
    def encode_grid_with_errors(self, images: Tensor, *, overlap: int = 0) -> tuple[Tokens, Tensor]:
        """`encode_grid`, and the squared error in the map of what the decoder expects of 1, 2, 4, ... and all tokens.

        That is its answer to pure noise, the mean of the maps that these tokens leave open; it takes one pass, where a picture takes many.
        """
        self._check_grid(images, overlap)
        tiles = cut_tiles(images, self.spec.input_size, overlap)
        found = [self._with_errors(tiles[run]) for run in runs(len(tiles), self.spec.input_size)]
        return Tokens.full(torch.cat([ids for ids, _ in found]), self.spec), torch.cat([errors for _, errors in found])

    def _with_errors(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.map_of(tiles)
        quantized = self.quantize(self.encoder(maps))
        noise, modulations = self.noise(None, [(0, 0)] * len(tiles)), self.decoder.modulations(maps.new_ones(1))

        def error(condition: Condition) -> Tensor:
            velocity, _ = self.decoder(noise, modulations, condition)
            return (noise - velocity - maps).square().flatten(1).sum(1)

        def error_of(num_tokens: int) -> Tensor:
            return error(self.decoder.condition(quantized.vectors, quantized.ids.new_full((len(tiles),), num_tokens)))

        return quantized.ids, errors_of_prefixes(error_of, error(self.decoder.no_condition(len(tiles))), self.spec.max_tokens)

    def _reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions, places: Sequence[Place]) -> Decoded:
        maps = self.sample_maps(vectors, lengths, self.noise(options.seed, places), options)
        return Decoded(self.pictures_of(maps), {"map": maps})
