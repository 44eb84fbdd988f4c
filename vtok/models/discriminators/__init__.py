"""Discriminators: networks that tell images from decoded pictures."""

from vtok.models.discriminators.blur_pool import BlurPoolDiscriminator
from vtok.models.discriminators.config import BlurPoolConfig, DiscriminatorConfig, PatchConfig, build
from vtok.models.discriminators.patch import PatchDiscriminator

__all__ = ["BlurPoolConfig", "BlurPoolDiscriminator", "DiscriminatorConfig", "PatchConfig", "PatchDiscriminator", "build"]
