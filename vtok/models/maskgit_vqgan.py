"""The convolutional networks of MaskGIT-VQGAN (arXiv 2202.04200): pictures to maps of latents and back."""

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from vtok.models.upsampled_conv import UpsampledConv

GROUPS = 32
MAX_NUMBERS = 2**31  # a configuration comes from a file: what it asks for is bounded before it is made


class MaskgitConfig(BaseModel):
    """Sizes of both networks.

    Args:
        dim: channels at full resolution, a multiple of 32.
        multiples: of `dim` at each resolution, from the full one down by halves.
        num_blocks: at each resolution, and once more at the lowest.
        latent_dim: channels of a latent.
        codebook_size: codes that latents are quantised to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    dim: int = Field(128, ge=GROUPS, le=4096, multiple_of=GROUPS)
    multiples: tuple[int, ...] = Field((1, 1, 2, 2, 4), min_length=1, max_length=8)
    num_blocks: int = Field(2, ge=1, le=64)
    latent_dim: int = Field(256, ge=1, le=4096)
    codebook_size: int = Field(1024, ge=2, le=2**20)

    @model_validator(mode="after")
    def _sizes_are_some(self) -> "MaskgitConfig":
        if not 1 <= min(self.multiples) <= max(self.multiples) <= 64:
            raise ValueError(f"multiples are 1 to 64, got {self.multiples}")
        convolutions = 18 * self.num_blocks * sum(width**2 for width in self.widths)
        if (size := 2 * convolutions + self.latent_dim * self.codebook_size) > MAX_NUMBERS:
            raise ValueError(f"the MaskGIT-VQGAN would have {size:,} numbers, at most {MAX_NUMBERS:,} are allowed")
        return self

    @property
    def downsample(self) -> int:
        """Pixels along a side of a latent."""
        return 2 ** (len(self.multiples) - 1)

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(self.dim * multiple for multiple in self.multiples)


class ResBlock(nn.Module):
    """Two convolutions, each after a norm and SiLU.

    Where widths differ, the 1x1 shortcut is taken of what the convolutions made, and the input is dropped: so the weights were trained.
    """

    def __init__(self, in_dim: int, out_dim: int):
        super().__init__()
        self.norm1 = _norm(in_dim)
        self.conv1 = _conv(in_dim, out_dim, bias=False)
        self.norm2 = _norm(out_dim)
        self.conv2 = _conv(out_dim, out_dim, bias=False)
        self.activation = nn.SiLU(inplace=True)
        self.shortcut = nn.Conv2d(out_dim, out_dim, 1, bias=False) if in_dim != out_dim else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.activation(self.norm1(x)))
        h = self.conv2(self.activation(self.norm2(h)))
        return self.shortcut(h).add_(h) if self.shortcut is not None else h.add_(x)


class MaskgitEncoder(nn.Module):
    """Images (B, 3, H, W) in [0, 1], sides multiples of `downsample`, to latents (B, latent_dim, h, w)."""

    def __init__(self, config: MaskgitConfig):
        super().__init__()
        self.conv_in = _conv(3, config.dim, bias=False)
        self.levels = nn.ModuleList()
        width = config.dim
        for own in config.widths:
            self.levels.append(_blocks(width, own, config.num_blocks))
            width = own
        self.middle = _blocks(width, width, config.num_blocks)
        self.norm_out = _norm(width)
        self.activation = nn.SiLU(inplace=True)
        self.conv_out = nn.Conv2d(width, config.latent_dim, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv_in(images)
        for number, level in enumerate(self.levels):
            x = level(avg_pool2d(x, 2) if number else x)
        out: Tensor = self.conv_out(self.activation(self.norm_out(self.middle(x))))
        return out


class UpLevel(nn.Module):
    """Blocks at one resolution, then a map of twice the sides, but for the last."""

    def __init__(self, in_dim: int, out_dim: int, num_blocks: int, *, last: bool):
        super().__init__()
        self.blocks = _blocks(in_dim, out_dim, num_blocks)
        self.upsample = None if last else UpsampledConv(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(x)
        return out if self.upsample is None else self.upsample(out)


class MaskgitDecoder(nn.Module):
    """Quantised latents (B, latent_dim, h, w) to pictures (B, 3, H, W), not clamped."""

    def __init__(self, config: MaskgitConfig):
        super().__init__()
        widths = config.widths
        self.conv_in = _conv(config.latent_dim, widths[-1])
        self.middle = _blocks(widths[-1], widths[-1], config.num_blocks)
        before = (*widths[1:], widths[-1])
        self.levels = nn.ModuleList(  # the full resolution first, though it comes last
            UpLevel(before[i], own, config.num_blocks, last=i == 0) for i, own in enumerate(widths)
        )
        self.norm_out = _norm(widths[0])
        self.activation = nn.SiLU(inplace=True)
        self.conv_out = _conv(widths[0], 3)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.middle(self.conv_in(latents))
        for level in reversed(self.levels):
            x = level(x)
        out: Tensor = self.conv_out(self.activation(self.norm_out(x)))
        return out


def _blocks(in_dim: int, out_dim: int, number: int) -> nn.Sequential:
    return nn.Sequential(*(ResBlock(out_dim if i else in_dim, out_dim) for i in range(number)))


def _norm(dim: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, dim, eps=1e-6)


def _conv(in_dim: int, out_dim: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(in_dim, out_dim, 3, padding=1, bias=bias)
