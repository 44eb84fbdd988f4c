"""Picture files in and out: upright 8-bit sRGB pixels from every everyday kind of file, one clear error from every other."""

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from vtok.data.atomic import atomic_file
from vtok.data.colour import ColourConverter
from vtok.data.eight_bit import check_pixels
from vtok.data.files import shown_name
from vtok.data.strict_pillow import strict_pillow
from vtok.errors import OutputError, PictureError

MAX_PIXELS = 100_000_000
PICTURE_EXTENSIONS = frozenset(
    (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".gif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm", ".qoi")
)
WRITABLE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")

PictureSource = str | Path | bytes | BinaryIO | Image.Image

# Left out: JPEG 2000, whose decoder fills the missing part of a cut file without a word, and formats that run other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "TIFF", "BMP", "PPM", "QOI")
_HEIC_BRANDS = (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1")
_STRIP_PIXELS = 1 << 20

# What Pillow's decoders raise on damaged files, found by reading mutated ones.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_picture(source: PictureSource, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a picture as a viewer would show it: EXIF orientation and colour profile applied, transparency on white, first frame.

    The content decides the format, not the extension. Deeper pictures are rounded to 8 bits; the pixel limit is checked before any pixel
    is decoded.

    Args:
        source: a file's path, its bytes, a binary stream (read to its end), or a Pillow image, which is left as it is.
        name: what to call it in messages; by default the path.
        max_pixels: most pixels, height times width, that are accepted.

    Returns:
        (H, W, 3) uint8, C-contiguous, sRGB.

    Raises:
        PictureError: missing, unreadable, empty, not a picture, damaged, cut short, too large, or in a colour format that is refused.
    """
    called = shown_name(name or _name_of(source))
    with _opened(source, called) as image, _damage_named(called):
        _check_size(image, called, max_pixels)
        image.load()
        return _upright_pixels(image, _orientation(image), ColourConverter(image, called))


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width in pixels of the upright picture, from the file's header alone.

    An orientation that a PNG stores behind its pixels is not seen.

    Raises:
        PictureError: missing, unreadable, empty or not a picture.
    """
    called = shown_name(str(path))
    with _opened(path, called) as image, _damage_named(called):
        sideways = image.format != "TIFF" and _orientation(image) >= 5  # Pillow gives a TIFF's upright size
        return (image.width, image.height) if sideways else (image.height, image.width)


def write_picture(path: str | Path, pixels: np.ndarray) -> None:
    """Write a picture whole or not at all: PNG, JPEG of quality 95 without chroma subsampling, or lossless WebP, by extension.

    Args:
        path: the file to write; one that exists is replaced.
        pixels: (H, W, 3) uint8, sRGB.

    Raises:
        OutputError: another extension, a size that the format cannot hold, or a place that cannot be written.
    """
    path = Path(path)
    check_writable(path)
    encoded = _encode(path, path.suffix.lower(), pixels)
    with atomic_file(path) as file:
        file.write(encoded.getbuffer())


def check_writable(path: Path) -> None:
    """Raise `OutputError` for a name whose extension `write_picture` does not take."""
    if (extension := path.suffix.lower()) not in WRITABLE_EXTENSIONS:
        found = repr(extension) if extension else "without an extension"
        raise OutputError(f"{path}: pictures are written as {', '.join(WRITABLE_EXTENSIONS)}, not {found}")


def encode_png(pixels: np.ndarray) -> bytes:
    """The bytes of a PNG file of (H, W, 3) uint8 sRGB pixels."""
    return _encode(Path("picture.png"), ".png", pixels).getvalue()


def _encode(path: Path, extension: str, pixels: np.ndarray) -> io.BytesIO:
    check_pixels(pixels)
    stream = io.BytesIO()
    try:
        Image.fromarray(pixels).save(stream, **_save_options(extension))
    except (OSError, ValueError, struct.error) as error:
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise OutputError(f"{path}: {extension} cannot hold a picture of {size} pixels ({error}); write a .png") from error
    return stream


def _save_options(extension: str) -> dict[str, Any]:
    if extension == ".png":
        tagged = PngImagePlugin.PngInfo()
        tagged.add(b"sRGB", b"\0")  # rendering intent 0, perceptual
        return {"format": "PNG", "pnginfo": tagged, "compress_level": 3}  # on photographs as small as 6 within 7 %, in under half the time
    if extension == ".webp":
        return {"format": "WEBP", "lossless": True}
    return {"format": "JPEG", "quality": 95, "subsampling": 0}


def _name_of(source: PictureSource) -> str:
    if isinstance(source, str | Path):
        return str(source)
    return str(getattr(source, "filename", None) or getattr(source, "name", None) or "picture")


@contextlib.contextmanager
def _opened(source: PictureSource, name: str) -> Iterator[Image.Image]:
    with strict_pillow:
        if isinstance(source, Image.Image):
            yield source
            return
        with _stream(source, name) as stream, _identified(stream, name) as image:
            yield image


@contextlib.contextmanager
def _stream(source: str | Path | bytes | BinaryIO, name: str) -> Iterator[BinaryIO]:
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif isinstance(source, str | Path):
        with _open_file(Path(source), name) as file:
            yield file if file.seekable() else _read_whole(file, name)
    elif hasattr(source, "read"):
        yield _read_whole(source, name)
    else:
        raise TypeError(f"a picture is a path, bytes, a binary stream or a Pillow image, got {type(source).__name__}")


def _open_file(path: Path, name: str) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise PictureError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise PictureError(f"{name}: is a folder, expected a picture file") from None
    except PermissionError:
        raise PictureError(f"{name}: no permission to read it") from None
    except (OSError, ValueError) as error:
        raise PictureError(f"{name}: cannot be opened ({_reason(error)})") from error


def _read_whole(stream: BinaryIO, name: str) -> BinaryIO:
    with _damage_named(name):
        return io.BytesIO(stream.read())


def _identified(stream: BinaryIO, name: str) -> Image.Image:
    with _damage_named(name):
        head = stream.read(16)
        stream.seek(0)
    if not head:
        raise PictureError(f"{name}: is empty (0 bytes), expected a picture")
    try:
        with _damage_named(name):
            return Image.open(stream, formats=_FORMATS)
    except PictureError as error:
        if not isinstance(error.__cause__, UnidentifiedImageError):
            raise
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        raise PictureError(f"{name}: HEIC pictures cannot be read; export it as JPEG or PNG")
    raise PictureError(f"{name}: not a picture, or its header is damaged; expected one of {', '.join(_FORMATS)}")


@contextlib.contextmanager
def _damage_named(name: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise PictureError(f"{name}: not enough memory to decode it") from None
    except _DAMAGE as error:
        raise PictureError(f"{name}: damaged or cut short ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    num_pixels = image.width * image.height
    if num_pixels == 0:
        raise PictureError(f"{name}: has no pixels ({image.width}x{image.height})")
    if num_pixels > max_pixels:
        found = f"{image.width}x{image.height} pixels ({num_pixels / 1e6:.1f} million)"
        raise PictureError(f"{name}: {found}, the limit is {max_pixels / 1e6:g} million; scale it down first")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or none that is valid. Never decodes pixels."""
    try:
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except _DAMAGE:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright_pixels(image: Image.Image, orientation: int, colour: ColourConverter) -> np.ndarray:
    width, height = image.size
    upright = np.empty((width, height, 3) if orientation >= 5 else (height, width, 3), np.uint8)
    stored = _as_stored(upright, orientation)
    num_rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, num_rows):
        bottom = min(top + num_rows, height)
        whole = bottom - top == height
        stored[top:bottom] = colour.pixels(image if whole else image.crop((0, top, width, bottom)))
    return upright


def _as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """A view of the upright picture whose rows and columns are the file's: writing into it turns the picture upright."""
    view = upright.swapaxes(0, 1) if orientation >= 5 else upright
    flip_rows = orientation in (3, 4, 6, 7)
    flip_columns = orientation in (2, 3, 7, 8)
    return view[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
