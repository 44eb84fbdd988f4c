"""What token shards are: one parquet file for each shard of pictures, and a manifest once all are there."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vtok.data.files import shown_name
from vtok.errors import DataError

MANIFEST = "tokens.json"
METADATA = "vtok"  # key of what a shard says of itself, in the schema of its table
_Model = TypeVar("_Model", bound=BaseModel)


class TokenSettings(BaseModel):
    """What strings were made from, and how; equal settings give equal shards.

    Args:
        source: what the pictures' data set is called.
        num_shards: how many it is read in.
        tokenizer: the name or place that the tokenizer was loaded from.
        code_digest: SHA-256 of what gives its ids their meaning.
        spec: of the strings, as `TokenSpec.to_json` has it.
        num_tokens: of each string.
        views: strings of each picture, the first of its middle.
        least_scale: smallest side of the other views, in parts of the middle's.
        mirror: whether half of those are mirrored.
        seed: of their places.
        classes: "stored" takes the labels of tars and tables, "folder" numbers the folders that pictures lie in.
        class_names: of the class ids, where they are known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    source: str
    num_shards: int = Field(ge=1)
    tokenizer: str
    code_digest: str
    spec: dict[str, Any]
    num_tokens: int = Field(ge=1)
    views: int = Field(1, ge=1, le=1000)
    least_scale: float = Field(0.8, gt=0, le=1)
    mirror: bool = True
    seed: int = Field(0, ge=0)
    classes: Literal["stored", "folder"] = "stored"
    class_names: tuple[str, ...] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 in hex; shards of other settings are not mixed."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


class ShardFacts(BaseModel):
    """What a shard says of itself.

    Args:
        settings: of the data set.
        number: of the shard, from 0.
        part: name of the shard of pictures that it was made from.
        failed: key and reason of each picture that could not be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    settings: TokenSettings
    number: int = Field(ge=0)
    part: str
    failed: tuple[tuple[str, str], ...] = ()


class ShardEntry(BaseModel):
    """A shard in the manifest.

    Args:
        file: its name.
        part: as in `ShardFacts`.
        num_strings: its rows.
        sha256: of the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    file: str
    part: str
    num_strings: int = Field(ge=0)
    sha256: str


class TokenManifest(BaseModel):
    """A finished data set.

    Args:
        vtok_tokens: version of the format.
        settings: of its strings.
        num_strings: in all shards.
        shards: all of them, in their order.
        failed: as in `ShardFacts`, of all shards.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    vtok_tokens: Literal[1] = 1
    settings: TokenSettings
    num_strings: int = Field(ge=0)
    shards: tuple[ShardEntry, ...]
    failed: tuple[tuple[str, str], ...] = ()


def shard_file(number: int) -> str:
    """Name of a shard."""
    return f"tokens-{number:05d}.parquet"


def id_type(codebook_sizes: tuple[int, ...]) -> str:
    """The smallest unsigned integer that holds every id, as NumPy and Arrow name it."""
    bits = (max(codebook_sizes) - 1).bit_length()
    return next(f"uint{width}" for width in (8, 16, 32, 64) if bits <= width)


def read_manifest(folder: Path) -> TokenManifest:
    """The manifest of a finished data set of strings.

    Raises:
        DataError: there is none, or it is damaged or of another version.
    """
    file = folder / MANIFEST
    try:
        text = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder}: no finished token shards, it has no {MANIFEST}; make them, or go on with, vtok tokenize") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    manifest = parsed(TokenManifest, text, file)
    if wrong := [entry.file for number, entry in enumerate(manifest.shards) if entry.file != shard_file(number)]:
        raise DataError(f"{file}: names a shard {shown_name(wrong[0])}, which is not what vtok tokenize writes")
    return manifest


def parsed(model: type[_Model], text: str | bytes, file: Path) -> _Model:
    """What a JSON text of the format says.

    Raises:
        DataError: it does not make sense.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = shown_name(f"{place}: {first['msg']}" if place else first["msg"])
        raise DataError(f"{file}: not what vtok tokenize writes ({reason}); was it made by another version?") from None
