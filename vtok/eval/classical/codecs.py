"""The classical codecs that Pillow has, each with the settings that do most for a given number of bytes in reasonable time.

Pictures are 8-bit RGB in and out, without a colour profile or other data beside them. Each encoder runs in one thread and AVIF cuts no
tiles, so that the bytes do not depend on the machine's cores.
"""

import importlib
import importlib.metadata
import io
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, features

from vtok.data.eight_bit import check_pixels
from vtok.data.strict_pillow import strict_pillow
from vtok.errors import MissingExtraError, PictureError

_RATIOS = tuple(round(24_000 / 1.005**i, 3) for i in range(2_000))  # from 0.001 to 21 bits per pixel in steps of half a percent


def _by_quality(quality: float) -> Mapping[str, Any]:
    return {"quality": quality}


@dataclass(frozen=True)
class Codec:
    """A format and how it is written.

    Args:
        name: as the command line has it.
        title: as people read it.
        format: as Pillow calls it.
        settings: Pillow's options of `save`, JSON-able.
        qualities: values of the control that chooses the size, the smallest file first.
        library: name and version of what encodes; raises `MissingExtraError` with the install line where it is not there.
        control: what `qualities` are.
        options_of: Pillow's options for one of them.
    """

    name: str
    title: str
    format: str
    settings: Mapping[str, Any]
    qualities: Sequence[float]
    library: Callable[[], str]
    control: str = "quality"
    options_of: Callable[[float], Mapping[str, Any]] = field(default=_by_quality, repr=False)

    def encode(self, pixels: np.ndarray, quality: float) -> bytes:
        """The file of pixels (H, W, 3) uint8.

        Args:
            quality: one of `qualities`.

        Raises:
            PictureError: the format cannot hold a picture of that size.
            MissingExtraError: the encoder is not there.
        """
        self.library()
        check_pixels(pixels)
        stream = io.BytesIO()
        try:
            Image.fromarray(pixels).save(stream, self.format, **self.settings, **self.options_of(quality))
        except (OSError, ValueError, RuntimeError, struct.error) as error:
            size = f"{pixels.shape[1]} x {pixels.shape[0]}"
            raise PictureError(f"{self.title} cannot hold a picture of {size} pixels ({' '.join(str(error).split())})") from error
        return stream.getvalue()

    def decode(self, data: bytes) -> np.ndarray:
        """The pixels (H, W, 3) uint8 of a file that `encode` made. Of no other: `vtok.data.pictures` reads those, and with more care.

        Raises:
            MissingExtraError: the decoder is not there.
        """
        self.library()
        with strict_pillow, Image.open(io.BytesIO(data), formats=[self.format]) as image:
            return np.array(image.convert("RGB"))

    def describe(self) -> dict[str, Any]:
        """Name, title, settings and libraries, JSON-able: what a record says of its subject.

        Raises:
            MissingExtraError: the encoder is not there.
        """
        libraries = {"encoder": self.library(), "pillow": importlib.metadata.version("pillow")}
        settings = {"control": self.control} | dict(self.settings)
        return {"kind": "codec", "name": self.name, "title": self.title, "settings": settings, "library": libraries}


def _built_in(title: str, libraries: Mapping[str, str]) -> str:
    """Of libraries by the names that `PIL.features` has for them, the first that Pillow was built with."""
    for feature, library in libraries.items():
        if features.check(feature):
            return f"{library} {features.version(feature)}"
    raise MissingExtraError(
        f"{title} is not in this build of Pillow; install one from PyPI with: pip install --force-reinstall --only-binary :all: pillow"
    )


def _jpeg_xl() -> str:
    try:
        importlib.import_module("pillow_jxl")
    except ImportError:
        raise MissingExtraError("JPEG XL needs a plugin of Pillow; install it with: pip install pillow-jxl-plugin") from None
    return f"pillow-jxl-plugin {importlib.metadata.version('pillow-jxl-plugin')}"


TABLE: Mapping[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec(
            "jpeg",
            "JPEG",
            "JPEG",
            {"subsampling": "4:2:0", "optimize": True},
            range(1, 96),  # above 95 files only grow
            partial(_built_in, "JPEG", {"mozjpeg": "mozjpeg", "libjpeg_turbo": "libjpeg-turbo", "jpg": "libjpeg"}),
        ),
        Codec(
            "jpeg2000",
            "JPEG 2000",
            "JPEG2000",
            {"irreversible": True, "mct": 1, "no_jp2": True, "quality_mode": "rates"},  # the 9/7 wavelet on YCbCr, a bare codestream
            _RATIOS,
            partial(_built_in, "JPEG 2000", {"jpg_2000": "OpenJPEG"}),
            "quality_layers: one, its compression ratio",
            lambda ratio: {"quality_layers": [ratio]},
        ),
        Codec("webp", "WebP", "WEBP", {"method": 6}, range(101), partial(_built_in, "WebP", {"webp": "libwebp"})),
        Codec(
            "avif",
            "AVIF",
            "AVIF",
            {"speed": 6, "subsampling": "4:2:0", "autotiling": False, "max_threads": 1},
            range(101),
            partial(_built_in, "AVIF", {"avif": "libavif"}),
        ),
        Codec("jxl", "JPEG XL", "JXL", {"effort": 7, "num_threads": 1}, range(100), _jpeg_xl),  # quality 100 is lossless
    )
}
