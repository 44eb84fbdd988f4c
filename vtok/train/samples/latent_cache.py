"""Keeping a frozen autoencoder's latents of whole pictures on the disk, with the pixels beside them; a stopped work goes on."""

import copy
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel
from safetensors.numpy import save

from vtok.data.atomic import write_bytes
from vtok.data.crops import resize
from vtok.data.eight_bit import from_eight_bit
from vtok.data.files import look_at, shown_name
from vtok.data.sources import Skipped, Source
from vtok.data.sources.cache_format import (
    CacheSettings,
    Manifest,
    ShardEntry,
    ShardInfo,
    Variant,
    open_shard,
    read_info,
    read_manifest,
    tensor_name,
)
from vtok.data.sources.cache_names import MANIFEST, METADATA, shard_name
from vtok.errors import ConfigError, DataError, OutputError, PictureError
from vtok.models.autoencoders import Autoencoder, AutoencoderConfig
from vtok.models.int8 import Int8, compact
from vtok.train.frozen import frozen_autoencoder
from vtok.train.samples.pictures import scaled_down

log = logging.getLogger(__name__)

MOST_PICTURES = 64  # of a shard
_ANY_TILE = 4096  # pixels, a multiple of every autoencoder's latent: whole pictures are encoded, not tiles
FULL_BYTES = 48_000_000  # a shard that has reached them is closed, so that most are below 64 MB


@dataclass(frozen=True)
class Progress:
    """How far the work is after a shard.

    Args:
        file: the shard.
        num_done: pictures of the data set up to its end.
        num_pictures: of the data set.
        is_new: false for a shard that was there before.
    """

    file: Path
    num_done: int
    num_pictures: int
    is_new: bool


def named_autoencoder(name: str, weights: str = "") -> tuple[AutoencoderConfig, Autoencoder]:
    """An autoencoder whose latents are worth keeping, with the configuration that builds it again.

    Args:
        name: "taef2", a folder in diffusers' layout, or one of the family `vae`.
        weights: a .safetensors file for "taef2"; empty takes those in the package.

    Raises:
        ConfigError: "pixels", or weights for a folder, which has its own.
        WeightsError: no such folder or file, or one that does not fit.
    """
    if name == "pixels":
        raise ConfigError("pixels has no network, so there is nothing to keep; train on the pictures themselves")
    if weights and name != "taef2":
        raise ConfigError(f"{name} has its own weights; leave {weights} out")
    return frozen_autoencoder(name, weights, _ANY_TILE)


def autoencoder_digest(autoencoder: Autoencoder) -> str:
    """SHA-256 of the weights that make latents, as they are stored small (`models.int8.compact`).

    It is the same after a training of the decoder, and for weights that were stored in half precision or as bytes and read back.
    """
    of_decoder = {id(parameter) for parameter in autoencoder.decoder_parameters()}
    digest = hashlib.sha256()
    for name, tensor in sorted(autoencoder.state_dict(keep_vars=True).items()):
        if id(tensor) not in of_decoder:
            digest.update(f"{name} {tuple(tensor.shape)} ".encode())
            small = compact(tensor.detach().cpu())
            digest.update((small.rounded() if isinstance(small, Int8) else small).contiguous().numpy().tobytes())
    return digest.hexdigest()


def variants(scales: Sequence[float], *, mirror: bool) -> tuple[Variant, ...]:
    """Each scale once, the largest first; with their mirrored copies behind them.

    Raises:
        ConfigError: no scale, or one that is not above 0 and at most 4.
    """
    if not scales or not all(0 < scale <= 4 for scale in scales):
        raise ConfigError(f"scales must be above 0 and at most 4, got {', '.join(f'{scale:g}' for scale in scales) or 'none'}")
    kept = sorted({float(f"{scale:g}") for scale in scales}, reverse=True)
    return tuple(Variant(scale=scale, mirrored=mirrored) for mirrored in ((False, True) if mirror else (False,)) for scale in kept)


def cache_settings(
    source: Source, config: BaseModel, autoencoder: Autoencoder, *, kept: tuple[Variant, ...], max_side: int
) -> CacheSettings:
    """What a cache of these pictures by this autoencoder is bound to.

    Args:
        config: what builds the autoencoder.
        kept: variants of each picture.
        max_side: longest short side of a picture before it is scaled by its variant; 0 knows no bound.
    """
    keys = hashlib.sha256()
    for index in range(len(source)):
        keys.update(source.key(index).encode("utf-8", "surrogatepass") + b"\n")
    return CacheSettings(
        source=shown_name(source.name),
        num_pictures=len(source),
        pictures_digest=keys.hexdigest(),
        autoencoder=config.model_dump(mode="json"),
        autoencoder_digest=autoencoder_digest(autoencoder),
        downsample=autoencoder.downsample,
        channels=autoencoder.channels,
        max_side=max_side,
        variants=kept,
    )


class LatentCache:
    """A folder with a cache of latents, finished or to be made.

    Args:
        folder: made here, in a folder that exists; may hold a part of this cache from before.
        settings: see `cache_settings`.

    Raises:
        OutputError: the folder holds another cache, or other things.
    """

    def __init__(self, folder: Path, settings: CacheSettings) -> None:
        self.folder = folder
        self.settings = settings
        self.manifest = Manifest(complete=False, settings=settings)
        if (folder / MANIFEST).is_file():
            self.manifest = read_manifest(folder)
            _check_same(folder, self.manifest.settings, settings)
        else:
            _check_empty(folder)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.manifest.complete and all((self.folder / shard.file).is_file() for shard in self.manifest.shards)

    def write(self, source: Source, autoencoder: Autoencoder, *, device: str = "cpu") -> Iterator[Progress]:
        """Make the shards that are missing, one after the other; then the manifest says that the cache is complete.

        Raises:
            DataError: no picture could be kept, or the data set changed.
            OutputError: the folder cannot be written.
        """
        _make_folder(self.folder)
        self._write_manifest(Manifest(complete=False, settings=self.settings))
        encoder = _Encoder(copy.deepcopy(autoencoder).to(device).to(memory_format=torch.channels_last), self.settings)
        shards: list[ShardEntry] = []
        skipped: list[tuple[str, str]] = []
        start = 0
        while start < len(source):
            file = self.folder / shard_name(start)
            before = self._present(file, start)
            info = before or _write_shard(file, source, start, encoder)
            shards.append(ShardEntry(file=file.name, num_pictures=len(info.keys)))
            skipped += info.skipped
            start = info.stop
            yield Progress(file, start, len(source), is_new=before is None)
        if not any(shard.num_pictures for shard in shards):
            raise DataError(f"{source.name}: no picture could be kept; {Skipped(skipped).summary()}")
        self._write_manifest(Manifest(complete=True, settings=self.settings, shards=tuple(shards), skipped=tuple(skipped)))

    def _write_manifest(self, manifest: Manifest) -> None:
        self.manifest = manifest
        write_bytes(self.folder / MANIFEST, self.manifest.model_dump_json(indent=1).encode())

    def _present(self, file: Path, start: int) -> ShardInfo | None:
        """What the shard says of itself, if it is there, whole, and of this cache."""
        if not file.exists():
            return None
        try:
            info = read_info(open_shard(file), file)
        except DataError as error:
            log.warning("made again: %s", error)
            return None
        return info if (info.settings, info.start) == (self.settings.digest, start) and info.stop > start else None


def _check_empty(folder: Path) -> None:
    """Refuse a folder of other things: with a manifest in it, they would be taken for a cache."""
    if look_at(folder) == "file":
        raise OutputError(f"{folder}: is a file, expected a folder; choose another name")
    if look_at(folder) == "folder" and any(file.suffix != ".part" for file in folder.iterdir()):
        raise OutputError(f"{folder}: is not empty and holds no cache; choose a new folder")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
        for part in folder.glob("shard-*.part"):
            part.unlink()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}); choose another place") from None


def _check_same(folder: Path, found: CacheSettings, wanted: CacheSettings) -> None:
    """Name what differs between the cache that is there and the one that is asked for."""
    if found.digest == wanted.digest:
        return
    if found.autoencoder_digest != wanted.autoencoder_digest or found.autoencoder != wanted.autoencoder:
        what = "by another autoencoder"
    elif found.pictures_digest != wanted.pictures_digest:
        what = f"of other pictures ({found.num_pictures} of {found.source}, not these {wanted.num_pictures})"
    elif found.max_side != wanted.max_side:
        what = f"with max_side {found.max_side}, not {wanted.max_side}"
    else:
        there, asked = (", ".join(variant.name for variant in settings.variants) for settings in (found, wanted))
        what = f"at the scales {there}, not {asked}"
    raise OutputError(f"{folder}: holds a cache {what}; choose another folder, or remove that one")


def _write_shard(file: Path, source: Source, start: int, encoder: "_Encoder") -> ShardInfo:
    shard = _Shard()
    stop = start
    while stop < len(source) and len(shard.keys) < MOST_PICTURES and shard.num_bytes < FULL_BYTES:
        shard.add(source, stop, encoder)
        stop += 1
    info = ShardInfo(settings=encoder.settings.digest, start=start, stop=stop, keys=tuple(shard.keys), skipped=tuple(shard.skipped))
    write_bytes(file, save(shard.tensors, {METADATA: info.model_dump_json()}))
    return info


@dataclass
class _Shard:
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    num_bytes: int = 0

    def add(self, source: Source, index: int, encoder: "_Encoder") -> None:
        key = source.key(index)
        try:
            if not _is_text(key):
                raise PictureError(f"{shown_name(key)}: a file name that is no text cannot be kept; rename it")
            tensors = encoder.tensors(key, source[index].pixels)
        except PictureError as error:
            self.skipped.append((shown_name(key), shown_name(str(error))))
            return
        self.keys.append(key)
        self.tensors |= tensors
        self.num_bytes += sum(tensor.nbytes for tensor in tensors.values())


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class _Encoder:
    autoencoder: Autoencoder
    settings: CacheSettings

    def tensors(self, key: str, picture: np.ndarray) -> dict[str, np.ndarray]:
        """Pixels (h * d, w * d, 3) uint8 and latents (C, h, w) float16 of each variant that has at least one latent."""
        picture = scaled_down(picture, self.settings.max_side)
        found: dict[str, np.ndarray] = {}
        for variant in self.settings.variants:
            pixels = _whole_latents(_variant(picture, variant), self.settings.downsample)
            if pixels.size:
                found[tensor_name(key, variant, "pixels")] = pixels
                found[tensor_name(key, variant, "latents")] = self._latents(pixels)
        if not found:
            raise PictureError(f"{key}: smaller than one latent, {self.settings.downsample} pixels a side")
        return found

    @torch.inference_mode()
    def _latents(self, pixels: np.ndarray) -> np.ndarray:
        device = next(self.autoencoder.parameters()).device
        images = from_eight_bit(pixels).to(device, memory_format=torch.channels_last)  # (1, 3, H, W)
        latents: np.ndarray = self.autoencoder.encode(images)[0].half().cpu().contiguous().numpy()
        return latents


def _variant(picture: np.ndarray, variant: Variant) -> np.ndarray:
    height, width = (max(1, round(side * variant.scale)) for side in picture.shape[:2])
    scaled = picture if (height, width) == picture.shape[:2] else resize(picture, height, width)
    return scaled[:, ::-1] if variant.mirrored else scaled


def _whole_latents(pixels: np.ndarray, downsample: int) -> np.ndarray:
    height, width = (side - side % downsample for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[:height, :width])
