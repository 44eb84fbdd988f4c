"""The convolutional networks that LlamaGen's VQ (arXiv 2406.06525), FQGAN and TokenFlow share: pictures to maps and back.

A map halves from level to level; at the lowest each residual block is followed by attention over all places.
"""

from einops import rearrange
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from vtok.models.recompute import run
from vtok.models.upsampled_conv import UpsampledConv

GROUPS = 32
MAX_NUMBERS = 2**31  # a configuration comes from a file: what it asks for is bounded before it is made


class ConvConfig(BaseModel):
    """Sizes of an encoder, of a decoder, or of a pair.

    Args:
        dim: channels at full resolution, a multiple of 32.
        multiples: of `dim` at each resolution, from the full one down by halves.
        num_blocks: residual blocks at each resolution of an encoder; a decoder has one more.
        z_dim: channels between the lowest resolution and the latents.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    dim: int = Field(128, ge=GROUPS, le=4096, multiple_of=GROUPS)
    multiples: tuple[int, ...] = Field((1, 1, 2, 2, 4), min_length=1, max_length=8)
    num_blocks: int = Field(2, ge=1, le=64)
    z_dim: int = Field(256, ge=1, le=4096)

    @model_validator(mode="after")
    def _sizes_are_some(self) -> "ConvConfig":
        if not 1 <= min(self.multiples) <= max(self.multiples) <= 64:
            raise ValueError(f"multiples are 1 to 64, got {self.multiples}")
        if (size := 2 * 18 * (self.num_blocks + 2) * sum(width**2 for width in self.widths)) > MAX_NUMBERS:
            raise ValueError(f"the convolutions would have {size:,} numbers, at most {MAX_NUMBERS:,} are allowed")
        return self

    @property
    def downsample(self) -> int:
        """Pixels along a side of a place at the lowest resolution."""
        return 2 ** (len(self.multiples) - 1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each resolution, from the full one down."""
        return tuple(self.dim * multiple for multiple in self.multiples)


class ResidualBlock(nn.Module):
    """Two convolutions, each after a norm and SiLU, added to the input, or to a 1x1 convolution of it where widths differ."""

    def __init__(self, in_dim: int, out_dim: int):
        super().__init__()
        self.norm1 = norm(in_dim)
        self.conv1 = _conv(in_dim, out_dim)
        self.norm2 = norm(out_dim)
        self.conv2 = _conv(out_dim, out_dim)
        self.activation = nn.SiLU(inplace=True)
        self.shortcut = nn.Conv2d(in_dim, out_dim, 1) if in_dim != out_dim else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.activation(self.norm1(x)))
        h = self.conv2(self.activation(self.norm2(h)))
        return h.add_(self.shortcut(x))


class AttentionBlock(nn.Module):
    """One head that looks at all places of a map, of normed input, added to it."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = norm(dim)
        self.qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.out = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(self.norm(x)), "b (qkv d) h w -> qkv b 1 (h w) d", qkv=3)
        attended = scaled_dot_product_attention(q, k, v)  # (B, 1, h * w, D)
        return x + self.out(rearrange(attended, "b 1 (h w) d -> b d h w", h=x.shape[2]))


class Blocks(nn.Module):
    """Residual blocks, the first of which may change the width; with attention, each is followed by it."""

    def __init__(self, in_dim: int, out_dim: int, num_blocks: int, *, attention: bool):
        super().__init__()
        self.residual = nn.ModuleList(ResidualBlock(out_dim if i else in_dim, out_dim) for i in range(num_blocks))
        self.attention = nn.ModuleList(AttentionBlock(out_dim) if attention else nn.Identity() for _ in range(num_blocks))

    def forward(self, x: Tensor) -> Tensor:
        for residual, attention in zip(self.residual, self.attention, strict=True):
            x = attention(residual(x))
        return x


class Downsample(nn.Conv2d):
    """(B, dim, 2 h, 2 w) to (B, dim, h, w); beyond the lower and the right edge lie zeros, before the others nothing."""

    def __init__(self, dim: int):
        super().__init__(dim, dim, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(pad(x, (0, 1, 0, 1)))


class ConvEncoder(nn.Module):
    """Images (B, 3, H, W) in [-1, 1], sides multiples of `downsample`, to maps (B, widths[-1], h, w) that are not normed yet."""

    def __init__(self, config: ConvConfig):
        super().__init__()
        widths = config.widths
        last = len(widths) - 1
        self.conv_in = _conv(3, config.dim)
        self.levels = nn.ModuleList(
            Blocks(before, own, config.num_blocks, attention=i == last)
            for i, (before, own) in enumerate(zip((config.dim, *widths), widths, strict=False))
        )
        self.downsamples = nn.ModuleList(Downsample(width) for width in widths[:-1])
        self.middle = _middle(widths[-1])
        self.checkpointing = False

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv_in(images)
        for number, level in enumerate(self.levels):
            x = run(level, self.downsamples[number - 1](x) if number else x, again=self.checkpointing)
        out: Tensor = self.middle(x)
        return out


class LatentHead(nn.Module):
    """What follows an encoder: maps (B, widths[-1], h, w) to latents (B, latent_dim, h, w)."""

    def __init__(self, config: ConvConfig, latent_dim: int):
        super().__init__()
        self.norm = norm(config.widths[-1])
        self.activation = nn.SiLU(inplace=True)
        self.conv = _conv(config.widths[-1], config.z_dim)
        self.project = nn.Conv2d(config.z_dim, latent_dim, 1)

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.project(self.conv(self.activation(self.norm(maps))))
        return out


class ConvDecoder(nn.Module):
    """Quantised latents (B, latent_dim, h, w) to pictures (B, 3, H, W) of about [-1, 1], not clamped."""

    def __init__(self, config: ConvConfig, latent_dim: int):
        super().__init__()
        widths = config.widths[::-1]  # in the order of the computation
        self.project = nn.Conv2d(latent_dim, config.z_dim, 1)
        self.conv_in = _conv(config.z_dim, widths[0])
        self.middle = _middle(widths[0])
        self.levels = nn.ModuleList(
            Blocks(before, own, config.num_blocks + 1, attention=i == 0)
            for i, (before, own) in enumerate(zip((widths[0], *widths), widths, strict=False))
        )
        self.upsamples = nn.ModuleList(UpsampledConv(width) for width in widths[:-1])
        self.norm_out = norm(widths[-1])
        self.activation = nn.SiLU(inplace=True)
        self.conv_out = _conv(widths[-1], 3)
        self.checkpointing = False

    def forward(self, latents: Tensor) -> Tensor:
        x = self.middle(self.conv_in(self.project(latents)))
        for number, level in enumerate(self.levels):
            x = run(level, self.upsamples[number - 1](x) if number else x, again=self.checkpointing)
        out: Tensor = self.conv_out(self.activation(self.norm_out(x)))
        return out


def norm(dim: int) -> nn.GroupNorm:
    """The norm of all these networks."""
    return nn.GroupNorm(GROUPS, dim, eps=1e-6)


def _middle(dim: int) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(dim, dim), AttentionBlock(dim), ResidualBlock(dim, dim))


def _conv(in_dim: int, out_dim: int) -> nn.Conv2d:
    return nn.Conv2d(in_dim, out_dim, 3, padding=1)
