"""Converters of upstream checkpoints: their tensors to ours and back, and their files."""

from vtok.weights.convert.files import Converted, is_upstream, load_upstream, read_upstream
from vtok.weights.convert.flextok import FlextokHints
from vtok.weights.convert.titok import Hints
from vtok.weights.convert.upstream import Recognised, from_upstream, recognise, to_upstream

__all__ = [
    "Converted",
    "FlextokHints",
    "Hints",
    "Recognised",
    "from_upstream",
    "is_upstream",
    "load_upstream",
    "read_upstream",
    "recognise",
    "to_upstream",
]
