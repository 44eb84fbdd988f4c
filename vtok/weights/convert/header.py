"""What a safetensors file says before its tensors: their names, and a text for some keys."""

import ast
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vtok.errors import WeightsError
from vtok.tokenizers.folder import MAX_CONFIG_BYTES


def tensor_names(file: Path) -> list[str]:
    """Of the file; none where it is missing or no safetensors file."""
    try:
        with safe_open(file, "pt") as opened:
            return list(opened.keys())
    except (SafetensorError, OSError):
        return []


def literals(file: Path, keys: Iterable[str]) -> dict[str, Any]:
    """Values under those of the keys that the file has: Python literals, and as it is a text that is none. No code in them is run.

    Raises:
        WeightsError: texts of more than 1 MB.
    """
    with safe_open(file, "pt") as opened:
        said = opened.metadata() or {}
    texts = {key: said[key] for key in keys if key in said}
    if sum(map(len, texts.values())) > MAX_CONFIG_BYTES:
        raise WeightsError(f"{file}: has more than 1 MB of metadata, that is no model configuration")
    return {key: _value(text) for key, text in texts.items()}


def _value(text: str) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes that Python does not know
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # the last two of deep nesting
        return text
