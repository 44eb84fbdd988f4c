"""A KL autoencoder (arXiv 2112.10752): a map of latents, a Gaussian for each cell; the latent space that other models stand on.

The network is AutoencoderKL of the diffusers library. A string has the cells of the map row by row.
"""

from typing import Literal, Self

import torch
from einops import rearrange
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from vtok.models.autoencoders.diffusers import TILED_ABOVE, DiffusersAutoencoder
from vtok.models.decoders import Decoded, DecodeOptions
from vtok.tokenizers.latents import LOGVAR_RANGE, LatentTokenizer
from vtok.tokenizers.spec import LatentSpec
from vtok.tokenizers.titok import scattered

MAX_NUMBERS = 2**31  # a configuration comes from a file: what it asks for is bounded before it is made

DownBlock = Literal["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]
UpBlock = Literal["UpDecoderBlock2D", "AttnUpDecoderBlock2D"]


class KlSettings(BaseModel):
    """Settings of AutoencoderKL, by the names and, but for `scaling_factor`, with the defaults of diffusers.

    Args:
        block_out_channels: channels at each resolution, from the full one down by halves; as many as there are types of blocks.
        latent_channels: numbers of a latent.
        scaling_factor: what latents are multiplied by after `shift_factor` was taken from them; None leaves them as they are.
        sample_size, force_upcast, latents_mean, latents_std: for other programs that read these settings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    down_block_types: tuple[DownBlock, ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[UpBlock, ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[int, ...] = Field((64,), min_length=1, max_length=8)
    layers_per_block: int = Field(1, ge=1, le=64)
    act_fn: str = "silu"
    latent_channels: int = Field(4, ge=1, le=4096)
    norm_num_groups: int = Field(32, ge=1, le=4096)
    sample_size: int = Field(32, ge=1)
    scaling_factor: float | None = Field(None, gt=0, allow_inf_nan=False)
    shift_factor: float | None = Field(None, allow_inf_nan=False)
    latents_mean: None = None
    latents_std: None = None
    force_upcast: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        widths = self.block_out_channels
        if not len(widths) == len(self.down_block_types) == len(self.up_block_types):
            found = f"{len(widths)}, {len(self.down_block_types)} and {len(self.up_block_types)}"
            raise ValueError(f"block_out_channels, down_block_types and up_block_types must be equally many, got {found}")
        if not 1 <= min(widths) <= max(widths) <= 4096:
            raise ValueError(f"block_out_channels are 1 to 4096, got {widths}")
        size = 36 * (self.layers_per_block + 2) * sum(width**2 for width in widths) + 54 * widths[-1] * self.latent_channels
        if size > MAX_NUMBERS:
            raise ValueError(f"the autoencoder would have about {size:,} numbers, at most {MAX_NUMBERS:,} are allowed")
        return self

    @property
    def downsample(self) -> int:
        """Pixels along a side of a latent."""
        return 2 ** (len(self.block_out_channels) - 1)


class VaeConfig(BaseModel):
    """A KL autoencoder.

    Args:
        image_size: side in pixels.
        settings: of the network.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    image_size: int = Field(256, ge=4, le=TILED_ABOVE)
    settings: KlSettings

    @model_validator(mode="after")
    def _cells_are_whole(self) -> Self:
        if self.image_size % self.settings.downsample:
            raise ValueError(f"image_size {self.image_size} is not a multiple of the {self.settings.downsample} pixels of a latent")
        return self


class Vae(LatentTokenizer):
    """A KL autoencoder.

    Raises:
        MissingExtraError: diffusers is not installed.
        ConfigError: settings that it refuses.
    """

    family = "vae"
    Config = VaeConfig

    def __init__(self, config: VaeConfig):
        super().__init__()
        self.config = config
        self.autoencoder = DiffusersAutoencoder("AutoencoderKL", config.settings.model_dump())
        cells = config.image_size // config.settings.downsample
        size = (config.image_size, config.image_size)
        self.spec = LatentSpec(cells**2, config.settings.latent_channels, (1, cells, cells), size, 1, (cells**2,))
        self.after_load()

    @classmethod
    def tiny(cls) -> Self:
        """8 x 8 latents of 5 numbers for 32 pixels a side; seeded random weights."""
        settings = KlSettings(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(8, 8, 16),
            latent_channels=5,
            norm_num_groups=4,
            scaling_factor=0.5,
        )
        return scattered(cls(VaeConfig(image_size=32, settings=settings)))

    def after_load(self) -> None:
        """All runs in float32."""
        self.autoencoder.float().to(memory_format=torch.channels_last)  # convolutions are faster so

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether the blocks are computed again in the backward pass, which saves memory."""
        model = self.autoencoder.model
        (model.enable_gradient_checkpointing if on else model.disable_gradient_checkpointing)()

    def set_scaling_factor(self, factor: float) -> None:
        """Scale latents by `factor` in the place of the factor so far; the configuration says so too."""
        self.autoencoder.set_scaling_factor(factor)
        settings = self.config.settings.model_copy(update={"scaling_factor": factor})
        self.config = self.config.model_copy(update={"settings": settings})

    def gaussians(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = (rearrange(own, "b d h w -> b (h w) d") for own in self.autoencoder.posterior(images.float()))
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def reconstruct(self, vectors: Tensor, lengths: Tensor, options: DecodeOptions) -> Decoded:  # noqa: ARG002 - strings are whole
        latents = rearrange(vectors, "b (h w) d -> b d h w", h=self.spec.input_size[0] // self.autoencoder.downsample)
        return Decoded(self.autoencoder.decode(latents))
