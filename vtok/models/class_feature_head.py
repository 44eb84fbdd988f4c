"""A transformer that says what a whole picture shows, of its quantised vectors (FQGAN, arXiv 2411.16681, section 3.2)."""

import torch
from torch import Tensor, nn

from vtok.models.transformer import Transformer, TransformerConfig


class ClassFeatureHead(nn.Module):
    """Widens vectors, and lets them and a token for the picture look at one another.

    Args:
        config: sizes of the transformer.
        latent_dim: numbers of a vector.
        num_vectors: of a picture.
    """

    def __init__(self, config: TransformerConfig, latent_dim: int, num_vectors: int):
        super().__init__()
        dim = config.dim
        self.widen = nn.Sequential(nn.Linear(latent_dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.class_token = nn.Parameter(torch.randn(1, dim) * dim**-0.5)
        self.positions = nn.Parameter(torch.randn(1 + num_vectors, dim) * dim**-0.5)
        self.norm_in = nn.LayerNorm(dim)
        self.transformer = Transformer(config)
        self.norm_out = nn.LayerNorm(dim)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (B, N, latent_dim) to features (B, 1 + N, dim), those of the picture first."""
        x = torch.cat([self.class_token.expand(len(vectors), 1, -1), self.widen(vectors)], 1)
        out: Tensor = self.norm_out(self.transformer(self.norm_in(x + self.positions)))
        return out
