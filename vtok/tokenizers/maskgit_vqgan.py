"""MaskGIT-VQGAN (arXiv 2202.04200): a raster of tokens, one for each square of pixels; all of them are needed."""

from typing import Self

import torch
from pydantic import Field
from torch import Tensor

from vtok.models.maskgit_vqgan import MaskgitConfig, MaskgitDecoder, MaskgitEncoder
from vtok.models.quantizers.vq import VectorQuantizer
from vtok.tokenizers.raster import MAX_SIDE, AnySizeRaster


class MaskgitVqganConfig(MaskgitConfig):
    """A MaskGIT-VQGAN.

    Args:
        image_size: side in pixels of a tile, a multiple of `downsample`; pictures of other sizes may be encoded too.
    """

    image_size: int = Field(256, ge=1, le=MAX_SIDE)


class MaskgitVqgan(AnySizeRaster):
    """Latents are quantised as they are, without norms.

    Raises:
        ConfigError: a tile that is not a whole number of squares.
    """

    family = "maskgit_vqgan"
    Config = MaskgitVqganConfig
    quantizer: VectorQuantizer

    def __init__(self, config: MaskgitVqganConfig):
        super().__init__()
        self.config = config
        self.encoder = MaskgitEncoder(config)
        self.quantizer = VectorQuantizer(config.latent_dim, config.codebook_size)
        self.decoder = MaskgitDecoder(config)
        self.set_raster(config.downsample, config.image_size)

    @classmethod
    def tiny(cls) -> Self:
        """4 x 4 tokens of 16 codes for 16 pixels a side; seeded random weights."""
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            config = MaskgitVqganConfig(dim=32, multiples=(1, 2, 1), num_blocks=1, latent_dim=4, codebook_size=16, image_size=16)
            return cls(config).eval()

    def encode_map(self, images: Tensor) -> Tensor:
        maps: Tensor = self.encoder(images.to(self.quantizer.codes.dtype))
        return maps

    def decode_map(self, vectors: Tensor) -> Tensor:
        pictures: Tensor = self.decoder(vectors)
        return pictures

    @torch.no_grad()
    def soft_codes(self, images: Tensor, temperature: float = 1.0) -> Tensor:
        """Shares (B, h * w, S) of all codes in each square of images (B, 3, H, W) in [0, 1]: softmax(-squared distance / temperature)."""
        distances = torch.cdist(self.latents(images).float(), self.quantizer.codes.float()).square()
        return (-distances / temperature).softmax(-1)
