"""What lies where in the folder of a run, and whether a configuration may go on in it."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel

from vtok.data.atomic import write_bytes
from vtok.errors import ConfigError, OutputError
from vtok.train.config import RunConfig, check
from vtok.train.engine.checkpoint import newest, step_of

FREE = frozenset(
    {
        "threads",
        "data.workers",
        "data.memory_mb",
        "train.trackers",
        "train.log_every",
        "train.image_every",
        "train.checkpoint_every",
        "train.checkpoint_minutes",
        "train.keep",
        "train.validation.every",
    }
)
STEPS = "train.steps"


@dataclass(frozen=True)
class RunFolder:
    """A run: itself the model folder of the averaged weights, with all else beside them.

    Args:
        path: of the folder; several processes must see the same one.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "run.json"

    @property
    def start(self) -> Path:
        """The model folder that the first step began from."""
        return self.path / "start"

    @property
    def best(self) -> Path:
        """The model folder with the best score on the held-out pictures."""
        return self.path / "best"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def images(self) -> Path:
        return self.path / "images"

    @property
    def logs(self) -> Path:
        """Of loggers that write files."""
        return self.path / "logs"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    def check_free(self) -> None:
        """Let nothing be written over what is no run.

        Raises:
            OutputError: the folder holds something else.
        """
        if self.config.exists() or not self.path.exists():
            return
        own = {place.name for place in (self.start, self.checkpoints, self.images, self.logs, self._lock_file)}
        foreign = sorted(path.name for path in self.path.iterdir() if path.name not in own and not path.name.endswith(".part"))
        if foreign:
            raise OutputError(f"{self.path} holds {foreign[0]} and no run; name another folder with -o")

    def lock(self) -> FileLock:
        """Keep other runs out until this process ends or releases the lock.

        Raises:
            OutputError: another process trains in the folder.
        """
        try:
            lock = FileLock(self._lock_file, timeout=0)
            lock.acquire()
        except Timeout:
            raise OutputError(f"{self.path}: another process trains there; wait for its end, or name another folder with -o") from None
        return lock

    @property
    def _lock_file(self) -> Path:
        return self.path / ".lock"

    def make(self) -> None:
        """Make the folders.

        Raises:
            OutputError: no permission, or a file in their place.
        """
        try:
            for path in (self.path, self.checkpoints, self.images):
                path.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{error.filename}: cannot be made ({error.strerror})") from error

    def remove_unfinished(self) -> None:
        """Remove what a killed process left half-written."""
        parts = (part for place in (self.path, self.start, self.best) for part in place.glob(f"{place.name}.*.part"))
        for part in (*parts, *self.checkpoints.glob("step-*.part")):
            shutil.rmtree(part, ignore_errors=True)

    def write_config(self, config: RunConfig) -> None:
        """Write `run.json`."""
        write_bytes(self.config, config.model_dump_json(indent=2).encode())

    def has_begun(self) -> bool:
        """Whether there is a start to go on from."""
        return self.config.exists() and (self.start / "config.json").exists()

    def check_same(self, config: RunConfig, section: type[BaseModel]) -> None:
        """Let only a configuration go on that trains the same; before the first checkpoint, one that has the same start.

        Args:
            config: resolved.
            section: of the objective's own settings.

        Raises:
            ConfigError: names the first key that differs and both values.
        """
        before = self._read_config()
        if before.objective == config.objective:  # defaults that came later stand for what is not there
            before = resolve(before, check(section, before.settings(), str(self.config)))
        last = newest(self.checkpoints)
        unbegun = config.train.steps > 0 and last is None
        stored = _flat(before.model_dump(mode="json"))
        wanted = _flat(config.model_dump(mode="json"))
        for key in sorted(stored.keys() | wanted.keys()):
            was, now = stored.get(key), wanted.get(key)
            if was == now or key in FREE or (key == STEPS and last is not None and step_of(last) <= config.train.steps):
                continue
            if unbegun and key.startswith("train."):
                continue
            name = key.removeprefix("sections.")
            raise ConfigError(
                f"{self.path} holds a run with {name} = {json.dumps(was)}, this one has {json.dumps(now)}; "
                "choose another folder with -o, or the same settings to go on"
            )

    def _read_config(self) -> RunConfig:
        try:
            values = json.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{self.config}: cannot be read ({error}); choose another folder with -o") from None
        if not isinstance(values, dict):
            raise ConfigError(f"{self.config}: no settings of a run; choose another folder with -o")
        return check(RunConfig, values, str(self.config))


def resolve(config: RunConfig, settings: BaseModel) -> RunConfig:
    """With the objective's own section complete."""
    return config.model_copy(update={"sections": {config.objective: settings.model_dump(mode="json")}})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
