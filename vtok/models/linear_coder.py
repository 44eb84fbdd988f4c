"""Linear coding of a tile: its components, and back."""

import torch
from torch import Tensor, nn


class LinearCoder(nn.Module):
    """Components y = analysis (z - mean) of tiles z (T, dim), and z = mean + synthesis y; float32 inside autocast."""

    def __init__(self, num_components: int, dim: int):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(dim))
        self.analysis = nn.Parameter(torch.zeros(num_components, dim))
        self.synthesis = nn.Parameter(torch.zeros(dim, num_components))

    def forward(self, tiles: Tensor) -> Tensor:
        with torch.autocast(tiles.device.type, enabled=False):
            return (tiles.float() - self.mean) @ self.analysis.T

    def inverse(self, components: Tensor) -> Tensor:
        with torch.autocast(components.device.type, enabled=False):
            return torch.addmm(self.mean, components.float(), self.synthesis.T)
