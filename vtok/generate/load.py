"""Generators by name, folder, hub id or published file."""

from pathlib import Path
from typing import Any

from vtok.errors import UnsupportedError
from vtok.generate.base import Generator
from vtok.weights.load import load


def load_generator(name_or_dir: str | Path, *, device: str = "cpu") -> Generator[Any]:
    """Load a generator, in eval mode and without gradients; names and places are those of `vtok.load`.

    Raises:
        UnsupportedError: the model is a tokenizer.
        VtokError: as `vtok.load`.
    """
    model: Any = load(name_or_dir, device=device)
    if not isinstance(model, Generator):
        raise UnsupportedError(
            f"{name_or_dir} is no generator but a tokenizer (family {model.family}); train one on what vtok tokenize writes"
        )
    return model
