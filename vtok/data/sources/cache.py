"""Pictures with a frozen autoencoder's latents of them, as `vtok cache-latents` keeps them."""

import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from vtok.data.files import shown_name
from vtok.data.sources.base import Sample
from vtok.data.sources.cache_format import CacheSettings, ShardEntry, Variant, open_shard, read_info, read_manifest, tensor_name
from vtok.errors import DataError

_MOST_OPEN = 256  # shards mapped into memory at a time


@dataclass(frozen=True)
class Stored:
    """A variant of a picture with its size in latents."""

    variant: Variant
    rows: int
    cols: int


@dataclass(frozen=True)
class _Entry:
    key: str
    file: Path
    stored: tuple[Stored, ...]


class CacheSource:
    """A cache of latents as a data set; as such its pictures are those of the first variant, cropped to whole latents.

    Args:
        folder: with the manifest and the shards.
        name: what to call the data set.

    Raises:
        DataError: not a cache, not finished, or damaged; the message names the file.
    """

    class_names: tuple[str, ...] | None = None
    has_captions = False  # they are not stored

    def __init__(self, folder: Path, *, name: str) -> None:
        manifest = read_manifest(folder)
        if not manifest.complete:
            raise DataError(f"{folder}: this cache is not finished; run the same vtok cache-latents again, it goes on where it was")
        self.name = name
        self.settings: CacheSettings = manifest.settings
        self._entries = [entry for shard in manifest.shards for entry in _entries(folder, shard, manifest.settings)]
        self._open: OrderedDict[Path, Any] = OrderedDict()
        if not self._entries:
            raise DataError(f"{folder}: this cache has no picture")

    def __len__(self) -> int:
        return len(self._entries)

    def key(self, index: int) -> str:
        """The picture's key in the data set that the cache was made from."""
        return self._entries[index].key

    def __getitem__(self, index: int) -> Sample:
        first = self._entries[index].stored[0]
        pixels, _ = self.crop(index, first, (0, 0), (first.rows, first.cols))
        return Sample(self.key(index), pixels)

    def stored(self, index: int) -> tuple[Stored, ...]:
        """The variants that a picture is stored in."""
        return self._entries[index].stored

    def crop(self, index: int, stored: Stored, corner: tuple[int, int], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Read a part of a picture; only that part is read.

        Args:
            stored: one of the picture's.
            corner: top row and left column, in latents.
            size: rows and columns, in latents.

        Returns:
            Pixels (rows * downsample, cols * downsample, 3) uint8, and latents (C, rows, cols) float16.

        Raises:
            DataError: the shard changed since the cache was opened.
        """
        entry, scale = self._entries[index], self.settings.downsample
        (top, left), (rows, cols) = corner, size
        y, x = slice(top, top + rows), slice(left, left + cols)
        try:
            shard = self._shard(entry.file)
            latents = shard.get_slice(tensor_name(entry.key, stored.variant, "latents"))[:, y, x]
            pixels = shard.get_slice(tensor_name(entry.key, stored.variant, "pixels"))[
                y.start * scale : y.stop * scale, x.start * scale : x.stop * scale
            ]
        except SafetensorError as error:
            raise DataError(f"{entry.file}: changed while it was read ({shown_name(str(error))})") from None
        return pixels, latents

    def part(self, indices: Sequence[int], *, name: str) -> "CacheSource":
        """The cache with some of its pictures, in the order given."""
        part = copy.copy(self)
        part.name = name
        part._entries = [self._entries[index] for index in indices]
        part._open = OrderedDict()
        return part

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}

    def _shard(self, file: Path) -> Any:
        if file not in self._open:
            self._open[file] = open_shard(file)
            if len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(file)
        return self._open[file]


def _entries(folder: Path, entry: ShardEntry, settings: CacheSettings) -> Iterator[_Entry]:
    file = folder / entry.file
    shard = open_shard(file)
    info = read_info(shard, file)
    if info.settings != settings.digest or len(info.keys) != entry.num_pictures:
        raise DataError(f"{file}: belongs to another cache than the manifest beside it; run vtok cache-latents again")
    names = set(shard.keys())
    for key in info.keys:
        yield _Entry(key, file, tuple(_stored(shard, file, key, settings, names)))


def _stored(shard: Any, file: Path, key: str, settings: CacheSettings, names: set[str]) -> Iterator[Stored]:
    num_found = 0
    for variant in settings.variants:
        pixels, latents = tensor_name(key, variant, "pixels"), tensor_name(key, variant, "latents")
        if pixels not in names or latents not in names:
            continue
        num_found += 1
        size = _size_in_latents(shard.get_slice(pixels), shard.get_slice(latents), settings)
        if size is None:
            raise DataError(f"{file}: pixels and latents of {shown_name(key)!r} do not fit together; run vtok cache-latents again")
        yield Stored(variant, *size)
    if not num_found:
        raise DataError(f"{file}: lacks the picture {shown_name(key)!r} that it lists; run vtok cache-latents again")


def _size_in_latents(pixels: Any, latents: Any, settings: CacheSettings) -> tuple[int, int] | None:
    """Rows and columns, or None where the tensors are not what the settings say."""
    height, width = pixels.get_shape()[:2] if len(pixels.get_shape()) == 3 else (0, 0)
    rows, cols = height // settings.downsample, width // settings.downsample
    shapes = [rows * settings.downsample, cols * settings.downsample, 3], [settings.channels, rows, cols]
    kinds = (pixels.get_dtype(), latents.get_dtype())
    fits = min(rows, cols) > 0 and shapes == (pixels.get_shape(), latents.get_shape()) and kinds == ("U8", "F16")
    return (rows, cols) if fits else None
