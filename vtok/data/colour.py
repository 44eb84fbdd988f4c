"""Every colour format that pictures come in, brought to 8-bit sRGB; transparent parts lie on white."""

import functools
import io
import logging

import numpy as np
from PIL import Image, ImageCms, features

from vtok.errors import PictureError

_log = logging.getLogger(__name__)

_GREY = ("1", "L", "LA", "La")
_MODE_OF_PROFILE = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK", "Lab": "LAB"}
_TIFF_PHOTOMETRIC = 262


class ColourConverter:
    """Converts parts of one picture to sRGB, so that a large one never lies in memory twice.

    Grey, palette, CMYK, Lab, 16-bit and transparent pictures are taken; an embedded colour profile is applied with perceptual intent,
    and ignored with a logged warning where it is broken or made for another kind of picture.

    Args:
        image: the opened picture; only its header is looked at.
        name: what to call it in messages.

    Raises:
        PictureError: a colour format that cannot be converted faithfully.
    """

    def __init__(self, image: Image.Image, name: str) -> None:
        if image.mode == "I" and image.format == "TIFF":
            raise PictureError(f"{name}: holds 32-bit or signed integers, whose range is unknown; save it with 8 or 16 unsigned bits")
        self._name = name
        self._white_is_zero = image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == 0
        self._profile_mode, self._transform = _profile_transform(image, name)

    def pixels(self, part: Image.Image) -> np.ndarray:
        """Convert a part of the picture.

        Returns:
            (H, W, 3) uint8, read-only where no conversion was needed.

        Raises:
            PictureError: float values outside [0, 1] or integers beyond 16 bits.
        """
        colour, alpha = self._split(part)
        rgb = self._to_srgb(colour)
        if alpha is not None:
            white = Image.new("RGB", rgb.size, (255, 255, 255))
            white.paste(rgb, mask=alpha)
            rgb = white
        return np.asarray(rgb)

    def _split(self, part: Image.Image) -> tuple[Image.Image, Image.Image | None]:
        if part.mode in ("I", "F") or part.mode.startswith("I;16"):
            return self._eight_bit_grey(part)
        if part.mode in ("CMYK", "LAB"):
            return part, None
        plain, with_alpha = ("L", "LA") if part.mode in _GREY else ("RGB", "RGBA")
        if not part.has_transparency_data:
            return (part if part.mode == plain else part.convert(plain)), None
        both = part.convert(with_alpha)
        return both.convert(plain), both.getchannel("A")

    def _eight_bit_grey(self, part: Image.Image) -> tuple[Image.Image, Image.Image | None]:
        values = np.asarray(part)
        if part.mode == "F":
            return Image.fromarray(self._from_unit_range(values)), None
        if values.min() < 0 or values.max() > 65535:
            raise PictureError(
                f"{self._name}: grey values from {values.min()} to {values.max()}, expected 0 to 65535; save it with 8 or 16 bits"
            )
        grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
        if self._white_is_zero:
            grey = 255 - grey
        clear = part.info.get("transparency")
        alpha = Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)) if isinstance(clear, int) else None
        return Image.fromarray(grey), alpha

    def _from_unit_range(self, values: np.ndarray) -> np.ndarray:
        if not ((values >= 0) & (values <= 1)).all():
            found = f"{np.nanmin(values):g} to {np.nanmax(values):g}" if np.isfinite(values).any() else "none finite"
            raise PictureError(f"{self._name}: float values outside [0, 1] ({found}); scale them to [0, 1] or save with 8 or 16 bits")
        grey: np.ndarray = np.rint(values * 255).astype(np.uint8)
        return grey

    def _to_srgb(self, colour: Image.Image) -> Image.Image:
        if self._transform is None:
            return colour if colour.mode == "RGB" else colour.convert("RGB")
        source = colour if colour.mode == self._profile_mode else colour.convert(self._profile_mode)
        converted = ImageCms.applyTransform(source, self._transform)
        return source if converted is None else converted


def _profile_transform(image: Image.Image, name: str) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The mode that a part must be brought to, and what then makes it sRGB; no transform where Pillow's own conversion is right."""
    mode = _colour_mode(image.mode)
    icc = image.info.get("icc_profile")
    if mode == "LAB" and not icc:
        return mode, _lab_transform()
    if not isinstance(icc, bytes) or not icc:
        return mode, None
    if not features.check("littlecms2"):
        _log.warning("%s: its colour profile is ignored, since this Pillow was built without LittleCMS", name)
        return mode, None
    try:
        return _cached_transform(icc, mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        _log.warning("%s: its colour profile is ignored (%s)", name, " ".join(str(error).split()))
        return mode, _lab_transform() if mode == "LAB" else None


def _colour_mode(mode: str) -> str:
    if mode in _GREY or mode in ("I", "F") or mode.startswith("I;16"):
        return "L"
    return mode if mode in ("CMYK", "LAB") else "RGB"


@functools.lru_cache(maxsize=8)
def _cached_transform(icc: bytes, mode: str) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    space = profile.profile.xcolor_space.strip()
    profile_mode = _MODE_OF_PROFILE.get(space, space)
    if profile_mode != mode and (mode, profile_mode) != ("L", "RGB"):
        raise ValueError(f"it is made for {space} pictures, this one is {mode}")
    transform = ImageCms.buildTransform(
        profile,
        ImageCms.createProfile("sRGB"),
        profile_mode,
        "RGB",
        ImageCms.Intent.PERCEPTUAL,
        ImageCms.Flags.HIGHRESPRECALC,  # with coarser tables dark greys are off by more than a level
    )
    return (mode, None) if _changes_nothing(transform, profile_mode) else (profile_mode, transform)


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether the profile is sRGB whatever it is called: no colour of a 9 x 9 x 9 cube (or no grey) moves by more than one level."""
    if mode not in ("L", "RGB"):
        return False
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(81, 9, 3)
    before = cube if mode == "RGB" else np.arange(256, dtype=np.uint8)[None]
    after = np.asarray(ImageCms.applyTransform(Image.fromarray(before), transform))
    return int(np.abs(after.astype(int) - before.astype(int).reshape(*before.shape[:2], -1)).max()) <= 1


@functools.cache
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB", ImageCms.Intent.PERCEPTUAL)
