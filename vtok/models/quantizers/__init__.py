"""Quantizers: one file a mechanism, all under the contract of `base`."""

from vtok.models.quantizers.base import Quantized, Quantizer

__all__ = ["Quantized", "Quantizer"]
