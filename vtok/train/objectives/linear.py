"""`linear`, fitted in closed form: principal components under the decoder's metric, water-filling, k-means."""

import logging
import math
from collections.abc import Iterator
from itertools import islice
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import unfold

from vtok.data.eight_bit import from_eight_bit
from vtok.errors import ConfigError, DataError
from vtok.eval.pairs.lpips import MIN_SIDE, Lpips
from vtok.models.autoencoders import Autoencoder
from vtok.models.int8 import from_int8, to_int8
from vtok.models.quantizers.nearest import assign
from vtok.tokenizers.linear import LinearConfig, LinearTokenizer
from vtok.train.closed_form.components import Components, principal_components
from vtok.train.closed_form.kmeans import kmeans
from vtok.train.closed_form.metric import MetricKernel, pull_back, roots
from vtok.train.closed_form.water_filling import deal
from vtok.train.frozen import frozen_autoencoder
from vtok.train.samples.pictures import Pictures

log = logging.getLogger(__name__)

Table = tuple[Tensor, Tensor]  # components (width,) that a token codes, codes (codebook_size, width)


class MetricConfig(BaseModel):
    """The error that components and tables are chosen by.

    Args:
        kind: "decoder": squared error of the decoded pixels, seen through the decoder's Jacobian; "latents": of the latents themselves.
        lpips: weight of LPIPS beside the mean squared error of pixels in [0, 1]; needs the trunk's weights when above 0.
        floor: share of the mean eigenvalue added to each, so that what the decoder hardly shows is not blown up.
        num_passes: backward passes that the decoder's metric is estimated from, one picture each; pictures come round again, with new
            noise each time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["decoder", "latents"] = "decoder"
    lpips: float = Field(0.0, ge=0)
    floor: float = Field(0.1, gt=0, le=10)
    num_passes: int = Field(500, ge=1)


class Stage(BaseModel):
    """Tokens that share out the components among them: within a stage none is coded twice, each stage codes what those before left.

    Args:
        tokens: how many.
        rate: theoretical bits of a token as a share of its table's; above 1 codes more components, each more coarsely.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    tokens: int = Field(ge=1, le=4096)
    rate: float = Field(1.0, gt=0, le=4)


class LinearObjectiveConfig(BaseModel):
    """Settings of the fit.

    Args:
        autoencoder: "taef2", "pixels", a folder in diffusers' layout, or one of the family `vae`.
        autoencoder_weights: a .safetensors file for "taef2"; empty takes those inside the package.
        tile_size: side of a tile in pixels.
        codebook_size: codes of each token's table.
        stages: one after another; the string has the sum of their tokens.
        max_components: principal components kept.
        num_tiles: tiles to fit on, the same number from each picture.
        rounds: of k-means.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    autoencoder: str = "taef2"
    autoencoder_weights: str = ""
    tile_size: int = Field(64, ge=4, le=1024)
    codebook_size: int = Field(4096, ge=2, le=65536)
    stages: tuple[Stage, ...] = Field((Stage(tokens=64),), min_length=1)
    max_components: int = Field(1000, ge=1, le=32767)
    num_tiles: int = Field(60_000, ge=1)
    rounds: int = Field(8, ge=1)
    metric: MetricConfig = MetricConfig()


class LinearObjective:
    """All of `linear`'s training."""

    takes_strings = False
    Config = LinearObjectiveConfig

    def __init__(self, config: LinearObjectiveConfig):
        self.config = config
        self.autoencoder_config, self.autoencoder = frozen_autoencoder(config.autoencoder, config.autoencoder_weights, config.tile_size)
        self.cells = config.tile_size // self.autoencoder.downsample
        kept = min(config.max_components, self.autoencoder.channels * self.cells**2)
        if (longest := max(stage.tokens for stage in config.stages)) > kept:
            raise ConfigError(f"[linear]: a stage of {longest} tokens needs as many components, there are {kept}")
        self.lpips: Lpips | None = Lpips() if config.metric.lpips else None

    @torch.no_grad()
    def prepare(self, pictures: Pictures, generator: torch.Generator) -> LinearTokenizer:
        components, points = self.components(pictures, generator)
        return self._tokenizer(components, self._fit_tables(points, generator))

    @torch.no_grad()
    def components(self, pictures: Pictures, generator: torch.Generator) -> tuple[Components, Tensor]:
        """The principal components, largest variance first, and those of random tiles, (num_tiles, n).

        Raises:
            DataError: fewer tiles than codes.
        """
        tiles = self._random_tiles(pictures, generator)
        root, inverse_root = self._metric_roots(pictures, generator)
        log.info("principal components of %d tiles", len(tiles))
        components = principal_components(tiles, self.config.max_components, root, inverse_root)
        return components, tiles @ components.analysis.T

    def _metric_roots(self, pictures: Pictures, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        metric = self.config.metric
        channels = self.autoencoder.channels
        if metric.kind == "latents":
            unit = torch.eye(channels * self.cells**2, dtype=torch.float64)
            return unit, unit
        log.info("the decoder's metric from %d backward passes", metric.num_passes)
        kernel = MetricKernel(channels, self.cells)
        least = self.config.tile_size if self.lpips is None else max(self.config.tile_size, MIN_SIDE)
        for pixels in islice(_endless(pictures, least), metric.num_passes):
            latents = self.autoencoder.encode(_whole_cells(from_eight_bit(pixels), self.autoencoder))
            with torch.enable_grad():
                kernel.add(pull_back(self.autoencoder.decode, self._seen, latents, generator))
        return roots(kernel.matrix(), metric.floor)

    def _seen(self, pictures: Tensor) -> list[Tensor]:
        """Maps whose squared differences add up to the mean squared error plus weighted LPIPS."""
        maps = [pictures / math.sqrt(pictures.numel())]
        if self.lpips is not None:
            maps += [math.sqrt(self.config.metric.lpips) * x for x in self.lpips.features(pictures)]
        return maps

    def _random_tiles(self, pictures: Pictures, generator: torch.Generator) -> Tensor:
        """(num_tiles, D) tiles of the latents of whole pictures, which are shifted by random pixels."""
        total = self.config.num_tiles
        each = math.ceil(total / len(pictures))
        out, filled = torch.empty(total, self.autoencoder.channels * self.cells**2), 0
        for pixels in pictures:
            wanted = min(each, total - filled)
            for tiles in _shifted_tiles(pixels, wanted, self.autoencoder, self.cells, generator):
                out[filled : filled + len(tiles)] = tiles
                filled += len(tiles)
        if filled < self.config.codebook_size:
            raise DataError(
                f"{filled} tiles of {self.config.tile_size} pixels found, {self.config.codebook_size} codes need at least as many"
            )
        return out[:filled]

    def _fit_tables(self, left: Tensor, generator: torch.Generator) -> list[Table]:
        """The tokens' tables; `left` (N, n) components of the tiles, changed to what no token codes."""
        tables: list[Table] = []
        for stage in self.config.stages:
            bits = math.log2(self.config.codebook_size) * stage.rate
            for components in deal(left.var(0, correction=0).clamp(min=1e-12), stage.tokens, bits):
                points = left[:, components]
                exact = kmeans(points, self.config.codebook_size, rounds=self.config.rounds, generator=generator)
                codes = from_int8(*to_int8(exact, 0))  # as stored, so that later stages code what really is left
                left[:, components] = points - codes[assign(points, codes)]
                tables.append((components, codes))
                log.info("token %d: %d components, error left %.4g", len(tables), len(components), float(left.square().sum(1).mean()))
        return tables

    def _tokenizer(self, components: Components, tables: list[Table]) -> LinearTokenizer:
        coded = torch.cat([index for index, _ in tables])
        kept, places = coded.unique(return_inverse=True)
        config = LinearConfig(
            autoencoder=self.autoencoder_config,
            tile_size=self.config.tile_size,
            num_components=len(kept),
            codebook_size=self.config.codebook_size,
            widths=tuple(len(index) for index, _ in tables),
        )
        tokenizer = LinearTokenizer(config)
        tokenizer.autoencoder.load_state_dict(self.autoencoder.state_dict())
        tokenizer.fill(components.mean, components.analysis[kept], components.synthesis[:, kept])
        tokenizer.quantizer.components = places.short()
        tokenizer.quantizer.fill([codes for _, codes in tables])
        return tokenizer.eval()


def _endless(pictures: Pictures, min_side: int) -> Iterator[np.ndarray]:
    """The pictures that are large enough, again and again."""
    while True:
        found = False
        for pixels in pictures:
            if min(pixels.shape[:2]) >= min_side:
                found = True
                yield pixels
        if not found:
            raise DataError(f"no picture has {min_side} pixels a side, which the metric needs")


def _shifted_tiles(
    pixels: np.ndarray, num_tiles: int, autoencoder: Autoencoder, cells: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Tiles (n, D) at random places, n adding up to `num_tiles`, or none if the picture is smaller than a tile.

    Places within one encoding are whole latents, so the picture is shifted by random pixels before each.
    """
    step, side = autoencoder.downsample, autoencoder.downsample * cells
    if min(pixels.shape[:2]) < side:
        return
    images = from_eight_bit(pixels)
    while num_tiles > 0:
        top, start = (int(torch.randint(min(step, n - side + 1), (), generator=generator)) for n in pixels.shape[:2])
        latents = autoencoder.encode(_whole_cells(images[:, :, top:, start:], autoencoder))
        places = unfold(latents, cells)[0].T  # (places, D), each in the order of a flattened (C, cells, cells)
        chosen = places[torch.randperm(len(places), generator=generator)[:num_tiles]]
        num_tiles -= len(chosen)
        yield chosen


def _whole_cells(images: Tensor, autoencoder: Autoencoder) -> Tensor:
    step = autoencoder.downsample
    return images[:, :, : images.shape[2] // step * step, : images.shape[3] // step * step]
