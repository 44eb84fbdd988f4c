"""Pictures to short strings of discrete tokens and back: one string serves a generator and a codec."""

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from vtok.codec import compress, decompress, read, write
    from vtok.tokenizers.base import DecodeOptions, Tokenizer, Tokens
    from vtok.tokenizers.spec import TokenSpec
    from vtok.weights import load

__version__ = "0.1.0"
__all__ = [
    "DecodeOptions",
    "TokenSpec",
    "Tokenizer",
    "Tokens",
    "compress",
    "decompress",
    "load",
    "read",
    "write",
]

_ROOMS = {
    "DecodeOptions": "vtok.tokenizers.base",
    "TokenSpec": "vtok.tokenizers.spec",
    "Tokenizer": "vtok.tokenizers.base",
    "Tokens": "vtok.tokenizers.base",
    "compress": "vtok.codec",
    "decompress": "vtok.codec",
    "load": "vtok.weights",
    "read": "vtok.codec",
    "write": "vtok.codec",
}


def __getattr__(name: str) -> _typing.Any:
    """Import a public name when it is first used, so that `import vtok` stays light."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'vtok' has no attribute {name!r}")
    value = getattr(_importlib.import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
