"""The shards of a data set that one process makes; finished ones are left alone, and the last to finish writes the manifest."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vtok.data.atomic import write_bytes
from vtok.data.sources.open import Part
from vtok.data.token_shards.format import MANIFEST, ShardEntry, ShardFacts, TokenManifest, TokenSettings, shard_file
from vtok.data.token_shards.shard import read_facts, sha256_of
from vtok.errors import ConfigError, DataError, OutputError
from vtok.generate.tokenize.shard import Rates, Speed, make_shard
from vtok.tokenizers.base import Tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """A shard that is there.

    Args:
        file: of the shard.
        num_strings: in it.
        failed: key and reason of pictures that could not be read.
        rates: None of a shard that was there before.
    """

    file: Path
    num_strings: int
    failed: tuple[tuple[str, str], ...]
    rates: Rates | None


@dataclass(frozen=True, eq=False)
class TokenizeJob:
    """A data set, how its strings are made, and where they go.

    Args:
        parts: of the data set, one for each shard.
        settings: of the strings.
        folder: of the shards.
        speed: of the work.
    """

    parts: Sequence[Part]
    settings: TokenSettings
    folder: Path
    speed: Speed

    def check_folder(self) -> None:
        """Make the folder, and look that it holds nothing else.

        Raises:
            OutputError: it cannot be made, or holds other things than shards.
            ConfigError: it holds shards of other settings; the message names one that differs.
        """
        try:
            self.folder.mkdir(exist_ok=True)
        except FileNotFoundError:
            raise OutputError(f"{self.folder.parent}: no such folder; make it, or name another") from None
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be made ({error.strerror})") from None
        own = {MANIFEST, *(shard_file(number) for number in range(len(self.parts)))}
        foreign = sorted(path.name for path in self.folder.iterdir() if path.name not in own and not path.name.endswith(".part"))
        foreign = [name for name in foreign if name != "memory"]  # the trainer's, made of the shards
        if foreign:
            raise OutputError(f"{self.folder} holds {foreign[0]}, which is no shard of this data set; name another folder with -o")

    def run(self, numbers: Sequence[int], tokenizer: Tokenizer) -> Iterator[Done]:
        """Make those shards that are missing, one after another.

        Raises:
            ConfigError: a shard of other settings is there.
            DataError: a part that cannot be opened.
            OutputError: a shard cannot be written.
        """
        for number in numbers:
            yield self.found(number) or self.make(number, tokenizer)

    def make(self, number: int, tokenizer: Tokenizer) -> Done:
        """Make a shard."""
        file = self.folder / shard_file(number)
        facts, rates = make_shard(self.parts[number], number, self.settings, tokenizer, file, self.speed)
        return Done(file, rates.num_views, facts.failed, rates)

    def found(self, number: int) -> Done | None:
        """A shard that is there and whole; one that is damaged counts as missing.

        Raises:
            ConfigError: it is there, but was made of something else or in another way.
        """
        file = self.folder / shard_file(number)
        if not file.exists():
            return None
        try:
            facts, rows = read_facts(file)
        except DataError as error:
            log.warning("%s; making it anew", error)
            return None
        self._check_same(file, facts, number)
        return Done(file, rows, facts.failed, None)

    def finish(self) -> TokenManifest | None:
        """Write the manifest when all shards are there; None while some are missing, which others may be at work on.

        Raises:
            ConfigError: as `found`.
            OutputError: it cannot be written.
        """
        found = [self.found(number) for number in range(len(self.parts))]
        done = [shard for shard in found if shard is not None]
        if len(done) < len(found):
            return None
        entries = [
            ShardEntry(file=shard.file.name, part=part.name, num_strings=shard.num_strings, sha256=sha256_of(shard.file))
            for shard, part in zip(done, self.parts, strict=True)
        ]
        manifest = TokenManifest(
            settings=self.settings,
            num_strings=sum(entry.num_strings for entry in entries),
            shards=tuple(entries),
            failed=tuple(failure for shard in done for failure in shard.failed),
        )
        write_bytes(self.folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
        return manifest

    def _check_same(self, file: Path, facts: ShardFacts, number: int) -> None:
        told = facts.settings.model_dump(mode="json") | {"part": facts.part}
        wanted = self.settings.model_dump(mode="json") | {"part": self.parts[number].name}
        for key, value in wanted.items():
            if told[key] != value:
                raise ConfigError(
                    f"{file}: was made with {key} = {_short(told[key])}, asked is {_short(value)}; "
                    "name another folder with -o, or remove the shards"
                )


def settings_of(
    tokenizer: Tokenizer,
    parts: Sequence[Part],
    *,
    source: str,
    model: str,
    num_tokens: int | None = None,
    classes: Literal["stored", "folder"] = "stored",
    views: Mapping[str, Any] | None = None,
) -> TokenSettings:
    """What strings of a data set will be.

    Args:
        source, model: what data set and tokenizer are called.
        num_tokens: of each string; None for all.
        classes: as in `TokenSettings`.
        views: those of the settings that say how pictures are cut.

    Raises:
        LengthError: a number of tokens that does not decode.
        DataError: classes by folder, where a picture lies in none; or the first part cannot be opened.
    """
    spec = tokenizer.spec
    return TokenSettings(
        source=source,
        num_shards=len(parts),
        tokenizer=model,
        code_digest=tokenizer.code_digest,
        spec=spec.to_json(),
        num_tokens=spec.max_tokens if num_tokens is None else spec.check_length(num_tokens),
        classes=classes,
        class_names=_folders(parts) if classes == "folder" else parts[0].open().class_names,
        **(views or {}),
    )


def _folders(parts: Sequence[Part]) -> tuple[str, ...]:
    paths = [path.split("/") for part in parts for path in part.paths]
    if bare := [path[0] for path in paths if len(path) < 2]:
        raise DataError(f"{bare[0]}: lies in no folder that could name its class; put each class in a folder of its own")
    return tuple(sorted({path[0] for path in paths}))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
