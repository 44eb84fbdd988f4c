"""A vision transformer that makes a grid of features out of mask tokens, by what it reads in a string (arXiv 2406.07550, section 3.2)."""

import torch
from torch import Tensor, nn

from vtok.models.latent_token_encoder import VitConfig
from vtok.models.linear import Linear
from vtok.models.transformer import Transformer


class MaskTokenTransformer(nn.Module):
    """Vectors of a string to features of each cell of the picture's grid.

    A prefix is decoded from a shorter sequence: what is cut is neither masked nor filled in (One-D-Piece, arXiv 2501.10064).

    Args:
        config: sizes; a cell of the grid is a patch.
        image_size: side in pixels, a multiple of the patch.
        num_tokens: at full length, N.
        dim: of a vector, D.
    """

    def __init__(self, config: VitConfig, image_size: int, num_tokens: int, dim: int):
        super().__init__()
        self.side = image_size // config.patch_size
        scale = config.dim**-0.5
        self.embed = Linear(dim, config.dim)
        self.class_token = nn.Parameter(scale * torch.randn(1, config.dim))
        self.mask_token = nn.Parameter(scale * torch.randn(1, config.dim))
        self.positions = nn.Parameter(scale * torch.randn(1 + self.side**2, config.dim))  # the class token's first
        self.latent_positions = nn.Parameter(scale * torch.randn(num_tokens, config.dim))
        self.norm_in = nn.LayerNorm(config.dim)
        self.transformer = Transformer(config)
        self.norm_out = nn.LayerNorm(config.dim)

    def forward(self, vectors: Tensor, lengths: Tensor, context: Tensor | None = None) -> Tensor:
        """Vectors (B, N, D) of strings cut to `lengths` (B,) to features (B, side * side, W), row by row.

        Args:
            context: (B, T, W) further tokens to look at, with their positions in them.
        """
        if bool((lengths == lengths[0]).all()):
            return self._of_one_length(vectors[:, : int(lengths[0])], context)
        places = [(lengths == length).nonzero()[:, 0] for length in lengths.unique()]
        parts = [self._of_one_length(vectors[own, : int(lengths[own[0]])], None if context is None else context[own]) for own in places]
        return torch.cat(parts)[torch.cat(places).argsort()]

    def _of_one_length(self, vectors: Tensor, context: Tensor | None) -> Tensor:
        batch, num_tokens, cells = *vectors.shape[:2], self.side**2
        latents = self.embed(vectors) + self.latent_positions[:num_tokens]
        asked = torch.cat([self.class_token, self.mask_token.expand(cells, -1)]) + self.positions
        parts = [asked.to(latents.dtype).expand(batch, -1, -1), latents, *([] if context is None else [context.to(latents.dtype)])]
        x = self.norm_in(torch.cat(parts, 1))  # (B, 1 + L + n + T, W)
        out: Tensor = self.norm_out(self.transformer(x, slice(1, 1 + cells)))
        return out
