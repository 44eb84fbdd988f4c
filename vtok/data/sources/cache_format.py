"""What a cache of latents is on the disk: a manifest, and shards of safetensors that each hold some pictures in all their variants."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open

from vtok.data.files import shown_name
from vtok.data.sources.cache_names import MANIFEST, METADATA, SHARD_PATTERN
from vtok.errors import DataError

_Model = TypeVar("_Model", bound=BaseModel)


class Variant(BaseModel):
    """One way in which each picture is stored.

    Args:
        scale: of its sides.
        mirrored: left and right changed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    scale: float = Field(gt=0, le=4)
    mirrored: bool = False

    @property
    def name(self) -> str:
        """As it stands in the names of tensors."""
        return f"{self.scale:g}" + ("-mirrored" if self.mirrored else "")


class CacheSettings(BaseModel):
    """What a cache was made from, and how.

    Args:
        source: what the pictures' data set is called.
        num_pictures: how many it has.
        pictures_digest: SHA-256 of their keys.
        autoencoder: its configuration.
        autoencoder_digest: SHA-256 of its weights that make latents.
        downsample: pixels of a latent's side.
        channels: numbers of a latent.
        max_side: longest short side of a picture before it is scaled by its variant; 0 knows no bound.
        variants: which of them are stored, where the picture is large enough for one latent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    source: str
    num_pictures: int = Field(ge=1)
    pictures_digest: str
    autoencoder: dict[str, Any]
    autoencoder_digest: str
    downsample: int = Field(ge=1, le=1024)
    channels: int = Field(ge=1, le=65536)
    max_side: int = Field(ge=0)
    variants: tuple[Variant, ...] = Field(min_length=1)

    @property
    def digest(self) -> str:
        """SHA-256 of all but what the data set is called; it binds shards to their manifest."""
        values = self.model_dump(mode="json", exclude={"source"})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class ShardEntry(BaseModel):
    """A shard in the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    file: str = Field(pattern=SHARD_PATTERN)
    num_pictures: int = Field(ge=0)


class Manifest(BaseModel):
    """The file that makes a folder a cache.

    Args:
        vtok_cache: version of the format.
        complete: whether all shards are there.
        skipped: key and reason of each picture that could not be kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    vtok_cache: Literal[1] = 1
    complete: bool
    settings: CacheSettings
    shards: tuple[ShardEntry, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()


class ShardInfo(BaseModel):
    """What a shard says of itself.

    Args:
        settings: `CacheSettings.digest` of its cache.
        start, stop: its range of the data set's pictures.
        keys: of those that it holds, in the order of the data set.
        skipped: key and reason of the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    settings: str
    start: int = Field(ge=0)
    stop: int = Field(ge=1)
    keys: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()


def tensor_name(key: str, variant: Variant, content: Literal["pixels", "latents"]) -> str:
    """What a picture's tensor is called in its shard."""
    return f"{variant.name}/{content}/{key}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a cache, finished or not.

    Raises:
        DataError: there is none, or it is damaged or of another version.
    """
    file = folder / MANIFEST
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{folder}: no cache of latents, it has no {MANIFEST}; make one with vtok cache-latents") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    return _parsed(Manifest, text, file)


def open_shard(file: Path) -> Any:
    """The tensors of a shard, mapped into memory.

    Returns:
        safetensors' `safe_open`, in NumPy.

    Raises:
        DataError: missing, cut short or not in this format.
    """
    try:
        return safe_open(file, "numpy")
    except (OSError, SafetensorError) as error:
        raise DataError(f"{file}: not a whole shard of a cache ({shown_name(str(error))}); run vtok cache-latents again") from None


def read_info(shard: Any, file: Path) -> ShardInfo:
    """What an open shard says of itself.

    Args:
        file: its name in messages.

    Raises:
        DataError: it says nothing, or what makes no sense.
    """
    text = (shard.metadata() or {}).get(METADATA)
    if text is None:
        raise DataError(f"{file}: not a shard of a cache, its metadata have no {METADATA}")
    return _parsed(ShardInfo, text, file)


def _parsed(model: type[_Model], text: str | bytes, file: Path) -> _Model:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = shown_name(f"{place}: {first['msg']}" if place else first["msg"])
        raise DataError(f"{file}: not what vtok cache-latents writes ({reason}); was it made by another version?") from None
