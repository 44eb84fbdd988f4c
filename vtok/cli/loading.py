"""Tokenizers by name, folder or digest, on the device asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from vtok.cli.options import Device
from vtok.errors import ModelMismatchError, UnsupportedError

if TYPE_CHECKING:
    from vtok.codec.container import TokenFile
    from vtok.tokenizers.base import Tokenizer
    from vtok.tokenizers.latents import LatentTokenizer


class Loader:
    """Loads weights when they are first needed, once.

    Args:
        model: name, hub id or folder; None: the default for pictures, what was used for files.
        device: where they go.
    """

    def __init__(self, model: str | None, device: Device):
        self._model = model
        self._device = device
        self._by_digest: dict[bytes, Tokenizer] = {}

    @cached_property
    def model(self) -> Tokenizer | LatentTokenizer:
        """The model that was named, or the default, discrete or continuous.

        Raises:
            VtokError: there is no such model or no such device.
        """
        from vtok.weights import load

        return load(self._model, device=torch_device(self._device))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """`model`, which must make tokens.

        Raises:
            VtokError: as of `model`, or it is continuous.
        """
        from vtok.weights import DEFAULT, discrete

        return discrete(self.model, self._model or DEFAULT)

    def for_file(self, file: TokenFile) -> Tokenizer:
        """The model that was named, or the one among the known that wrote the file.

        Raises:
            ModelMismatchError: none was named, and the file's is not known here.
        """
        if self._model is not None:
            return self.tokenizer
        if file.digest not in self._by_digest:
            self._by_digest[file.digest] = self._known(file.digest)
        return self._by_digest[file.digest]

    def _known(self, digest: bytes) -> Tokenizer:
        from vtok.weights import load_by_digest

        found = load_by_digest(digest)
        if found is None:
            raise ModelMismatchError(f"made by weights with the code digest {digest.hex()}, none of `vtok models`; name them with --model")
        return found.to(torch_device(self._device))


def torch_device(device: Device) -> str:
    """The name of the torch device: what was asked for, or the best there is.

    Raises:
        UnsupportedError: it was asked for and is not there.
    """
    import torch

    there = {Device.cuda: torch.cuda.is_available(), Device.mps: torch.backends.mps.is_available(), Device.cpu: True}
    if device is Device.auto:
        return next(name.value for name, present in there.items() if present)
    if not there[device]:
        found = ", ".join(name.value for name, present in there.items() if present)
        raise UnsupportedError(f"there is no {device.value} device here; --device takes {found} or auto")
    return device.value
