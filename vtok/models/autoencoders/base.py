"""The contract of a frozen autoencoder: whole pictures to maps of latents and back."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Autoencoder(nn.Module, ABC):
    """Pictures (B, 3, H, W) in [0, 1], sides multiples of `downsample`, to latents (B, channels, h, w) and back, h = H / downsample."""

    downsample: int
    channels: int

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Images in [0, 1] to latents; deterministic."""

    def sample(self, images: Tensor) -> Tensor:
        """Latents drawn from the distribution by torch's global generator; `encode` where there is none."""
        return self.encode(images)

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Latents to pictures, not clamped."""

    def decoder_parameters(self) -> list[nn.Parameter]:
        """What `decode` alone uses, to be trained for other latents than those of `encode`."""
        return []
