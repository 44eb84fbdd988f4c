"""Where a published file of weights is found, and whether it is the published one. Nothing is downloaded."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from vtok.data.files import expand_home
from vtok.errors import WeightsError

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class WeightFile:
    """A file that the user fetches once.

    Args:
        title: of the network, for messages.
        file_names: that it is published under, the usual one first; looked for in torch hub's cache.
        size_bytes: about; 0 where it is not known.
        sha256_prefix: of its SHA-256 in hex; empty where any file will do.
        variable: of the environment, names a file anywhere; empty for none.
        source: where it is published, for messages.
        hub_repo: id of the Hugging Face hub whose copy in the local cache serves too; empty for none.
    """

    title: str
    file_names: tuple[str, ...]
    size_bytes: int
    sha256_prefix: str
    variable: str
    source: str
    hub_repo: str = ""

    def find(self, explicit: Path | None = None) -> Path:
        """The file given, else that of the variable, else the first of `homes` that is there, its digest checked.

        Raises:
            WeightsError: it is not there, or another file is; the message says which is wanted and where to put it.
        """
        named = explicit or (Path(text) if self.variable and (text := os.environ.get(self.variable)) else None)
        if named is not None:
            file = expand_home(named)
            if not file.is_file():
                raise WeightsError(f"no file {file}: {self._wanted()}")
        else:
            found = next((home for home in self.homes() if home.is_file()), None)
            if found is None:
                raise WeightsError(self._wanted())
            file = found
        self._check(file)
        return file

    def homes(self) -> Iterator[Path]:
        """Places of the local caches, in the order in which they are looked at."""
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        yield from (folder / name for name in self.file_names)
        if self.hub_repo:
            from huggingface_hub import try_to_load_from_cache

            cached = (try_to_load_from_cache(self.hub_repo, name) for name in _HUB_FILES)
            yield from (Path(file) for file in cached if isinstance(file, str))

    def _check(self, file: Path) -> None:
        found = digest(file)
        if not found.startswith(self.sha256_prefix):
            begins = found[: len(self.sha256_prefix)]
            raise WeightsError(f"{file} is another file: its SHA-256 begins {begins}, not {self.sha256_prefix}. {self._wanted()}")

    def _wanted(self) -> str:
        facts = [f"about {self.size_bytes / 1e6:.3g} MB"] if self.size_bytes else []
        facts += [f"SHA-256 begins {self.sha256_prefix}"] if self.sha256_prefix else []
        facts += [f"from {self.source}"] if self.source else []
        known = f" ({', '.join(facts)})" if facts else ""
        ways = [f"put it at {Path(torch.hub.get_dir()) / 'checkpoints' / self.file_names[0]}"] if self.file_names else []
        ways += [f"fetch {self.hub_repo} into the Hugging Face cache"] if self.hub_repo else []
        ways += [f"name a file in {self.variable}" if self.variable else "name a file of them"]
        name = f", {self.file_names[0]}" if self.file_names else ""
        return f"{self.title} needs its weights{name}{known}: {', or '.join(ways)}"


def digest(file: Path) -> str:
    """SHA-256 of a file in hex; remembered as long as its size and time stay.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        status = file.stat()
        return _digest(file.resolve(), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror})") from None


@cache
def _digest(file: Path, size: int, time_ns: int) -> str:  # noqa: ARG001 - a changed file has another entry
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
