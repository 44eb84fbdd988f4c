"""Discriminators: networks that tell images from decoded pictures."""

from vtok.models.discriminators.patch import PatchDiscriminator

__all__ = ["PatchDiscriminator"]
