"""Frozen autoencoders: whole pictures to maps of latents and back."""

from vtok.models.autoencoders.base import Autoencoder
from vtok.models.autoencoders.registry import AutoencoderConfig, build

__all__ = ["Autoencoder", "AutoencoderConfig", "build"]
