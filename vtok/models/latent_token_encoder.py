"""A vision transformer that gathers a picture in latent tokens beside its patches (TiTok, arXiv 2406.07550, section 3.2)."""

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from vtok.models.linear import Linear
from vtok.models.transformer import Transformer, TransformerConfig


class VitConfig(TransformerConfig):
    """Sizes of a transformer over patches.

    Args:
        patch_size: side of a patch in pixels.
    """

    patch_size: int = Field(16, ge=1, le=1024)


class TokenHead(Linear):
    """Each latent token (B, N, W) to its own latent (B, N, D)."""


class MixedTokenHead(Linear):
    """Latent tokens (B, N, W) to latents (B, N, D), each of numbers of several tokens.

    The N * W numbers of a picture in their order in memory are read as W rows of N; column n becomes latent n. So the first weights of
    TiTok were trained, and those of One-D-Piece.
    """

    def forward(self, x: Tensor) -> Tensor:
        num_tokens, dim = x.shape[1:]
        return super().forward(x.reshape(-1, dim, num_tokens).mT)


class LatentTokenEncoder(nn.Module):
    """Images to latents.

    Args:
        config: sizes.
        image_size: side in pixels, a multiple of the patch.
        num_tokens: latent tokens N.
        head: makes (B, N, D) of the last block's outputs (B, N, W) at the latent tokens.
    """

    def __init__(self, config: VitConfig, image_size: int, num_tokens: int, head: nn.Module):
        super().__init__()
        self.num_tokens = num_tokens
        scale = config.dim**-0.5
        num_patches = (image_size // config.patch_size) ** 2
        self.patch_embed = nn.Conv2d(3, config.dim, config.patch_size, config.patch_size)
        self.class_token = nn.Parameter(scale * torch.randn(1, config.dim))
        self.positions = nn.Parameter(scale * torch.randn(1 + num_patches, config.dim))  # the class token's first
        self.latent_tokens = nn.Parameter(scale * torch.randn(num_tokens, config.dim))
        self.latent_positions = nn.Parameter(scale * torch.randn(num_tokens, config.dim))
        self.norm_in = nn.LayerNorm(config.dim)
        self.transformer = Transformer(config)
        self.norm_out = nn.LayerNorm(config.dim)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [0, 1] to latents (B, N, D)."""
        patches = rearrange(self.patch_embed(images), "b d h w -> b (h w) d")
        seen = torch.cat([self.class_token.expand(len(images), 1, -1), patches], 1) + self.positions
        latents = (self.latent_tokens + self.latent_positions).expand(len(images), -1, -1)
        x = self.norm_in(torch.cat([seen, latents.to(seen.dtype)], 1))  # (B, 1 + L + N, W)
        out: Tensor = self.head(self.norm_out(self.transformer(x, slice(-self.num_tokens, None))))
        return out
