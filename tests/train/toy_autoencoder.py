"""An autoencoder so small that tests encode whole data sets; a latent sees its own pixels alone."""

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from vtok.models.autoencoders import Autoencoder


class ToyConfig(BaseModel):
    kind: str = "toy"


class ToyAutoencoder(Autoencoder):
    """Two channels for each 4 x 4 pixels."""

    downsample = 4
    channels = 2

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 4, stride=4)
        self.gain = nn.Parameter(torch.ones(3, 1, 1))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) / 4)

    def encode(self, images: Tensor) -> Tensor:
        return self.layer(images)

    def decode(self, latents: Tensor) -> Tensor:
        return self.gain * nn.functional.interpolate(latents[:, :1].expand(-1, 3, -1, -1), scale_factor=4)

    def decoder_parameters(self) -> list[nn.Parameter]:
        return [self.gain]
