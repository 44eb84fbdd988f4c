"""What was computed of some pictures, on the disk: a run that was cut off goes on from it, and several processes share one."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vtok.data.atomic import write_bytes
from vtok.errors import DataError, OutputError

_INFO = "vtok_chunk"  # the entry of a file's metadata


@dataclass(frozen=True, eq=False)
class Chunk:
    """Tensors by name, and facts that are JSON."""

    tensors: Mapping[str, Tensor]
    info: Mapping[str, Any]


class ChunkStore:
    """A folder of chunks that were all made in one way.

    Args:
        folder: where stores lie; it is made.
        settings: JSON-able, all that the content depends on; its digest names the store.

    Raises:
        OutputError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        text = json.dumps(settings, sort_keys=True, indent=1)
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        self._folder = folder / self.digest[:32]
        self._infos: dict[int, Mapping[str, Any]] = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be made ({error.strerror}); choose another folder with --cache") from None
        if not (self._folder / "settings.json").is_file():
            write_bytes(self._folder / "settings.json", text.encode())

    def has(self, start: int) -> bool:
        """Whether the chunk that begins with a picture is there."""
        return self._file(start).is_file()

    def write(self, start: int, chunk: Chunk) -> None:
        """Keep a chunk; it is there whole or not at all.

        Raises:
            OutputError: the disk is full, or cannot be written.
        """
        tensors = {name: tensor.contiguous() for name, tensor in chunk.tensors.items()}
        write_bytes(self._file(start), save(tensors, {_INFO: json.dumps(chunk.info)}))

    def info(self, start: int) -> Mapping[str, Any]:
        """The facts of a chunk.

        Raises:
            DataError: missing or damaged.
        """
        if start not in self._infos:
            self._infos[start] = self.read(start, ()).info
        return self._infos[start]

    def read(self, start: int, names: tuple[str, ...]) -> Chunk:
        """Some tensors of a chunk, and its facts.

        Raises:
            DataError: missing, damaged, or without one of them.
        """
        file = self._file(start)
        try:
            with safe_open(file, "pt") as opened:
                facts = json.loads((opened.metadata() or {})[_INFO])
                return Chunk({name: opened.get_tensor(name) for name in names}, facts)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{file}: not a whole chunk of an evaluation ({reason}); delete it and run the same command again") from None

    def _file(self, start: int) -> Path:
        return self._folder / f"chunk-{start:08d}.safetensors"
