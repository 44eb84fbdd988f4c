"""Decoders of quantised vectors, all under the contract of `base`."""

from vtok.models.decoders.base import Decoded, DecodeOptions, Decoder

__all__ = ["DecodeOptions", "Decoded", "Decoder"]
