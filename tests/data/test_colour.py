"""Colour formats and profiles, against conversions computed here."""

import io
import logging
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from vtok.data import read_picture
from vtok.errors import PictureError

WHITE_D50 = (0.9642, 1.0, 0.8249)
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


def s15(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def profile(space: bytes, kind: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2, from its tags (the ICC specification, section 7)."""
    tags = {b"desc": b"desc\0\0\0\0\0\0\0\5test\0" + b"\0" * 78, b"cprt": b"text\0\0\0\0none\0", **tags}
    body, table, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    size = offset + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, kind, space, pcs) + b"\0" * 12 + b"acsp" + b"\0" * 28
    return head + s15(*WHITE_D50) + b"\0" * 48 + struct.pack(">I", len(tags)) + table + body


def gamma_curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def srgb_curve() -> bytes:
    """The sRGB curve as a table of 1024 steps, as the profiles of cameras have it."""
    v = np.linspace(0, 1, 1024)
    light = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + (light * 65535).round().astype(">u2").tobytes()


def rgb_profile(primaries, curve: bytes | None = None) -> bytes:
    curve = curve or gamma_curve(2.2)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + s15(*WHITE_D50)}
    for name, primary in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + s15(*primary)
        tags[name + b"TRC"] = curve
    return profile(b"RGB ", b"mntr", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    return profile(b"GRAY", b"mntr", b"XYZ ", {b"wtpt": b"XYZ \0\0\0\0" + s15(*WHITE_D50), b"kTRC": gamma_curve(gamma)})


def cmyk_profile() -> bytes:
    """Inks of an odd press: only black ink darkens, evenly in lightness; the others change nothing."""
    line = bytes(range(256))
    corners = b"".join(bytes([0 if k else 255, 128, 128]) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + s15(1, 0, 0, 0, 1, 0, 0, 0, 1) + line * 4 + corners + line * 3
    return profile(b"CMYK", b"prtr", b"Lab ", {b"wtpt": b"XYZ \0\0\0\0" + s15(*WHITE_D50), b"A2B0": lut})


def to_srgb(pixels: np.ndarray, primaries, gamma: float = 2.2) -> np.ndarray:
    """The same conversion from the definitions: linear light, XYZ, linear sRGB, sRGB curve."""
    linear = (pixels / 255.0) ** (round(gamma * 256) / 256)
    light = (linear @ np.array(primaries) @ np.linalg.inv(np.array(SRGB))).clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def colours() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_row(width: int, depth: int, colour_type: int, row: bytes, extra: bytes = b"") -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + png_chunk(b"IDAT", zlib.compress(b"\0" + row)) + png_chunk(b"IEND", b"")


class TestProfiles:
    @pytest.mark.parametrize("primaries", [ADOBE_RGB, DISPLAY_P3], ids=["adobe", "p3"])
    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
    def test_a_wide_gamut_picture_becomes_srgb(self, kind, primaries):
        options = {"lossless": True} if kind == "WEBP" else {}
        pixels = read_picture(encoded(Image.fromarray(colours()), kind, icc_profile=rgb_profile(primaries), **options))
        expected = to_srgb(colours(), primaries)
        inside = ((expected > 1) & (expected < 254)).all(-1)
        assert inside.sum() > 200
        assert np.abs(pixels[inside] - expected[inside]).max() <= 2.5  # a dark level of one curve is two of the other
        assert np.abs(pixels[inside] - expected[inside]).mean() < 0.5
        assert np.abs(pixels.astype(int) - colours()).mean() > 4, "the profile must have changed something"

    def test_channels_swapped_by_a_profile_are_swapped_back(self):
        swapped = rgb_profile((SRGB[2], SRGB[1], SRGB[0]))
        pixels = read_picture(encoded(Image.new("RGB", (4, 4), (200, 100, 0)), "PNG", icc_profile=swapped))
        assert np.abs(pixels[0, 0].astype(int) - (0, 100, 200)).max() <= 3

    @pytest.mark.parametrize(
        "srgb",
        [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), rgb_profile(SRGB, srgb_curve())],
        ids=["pillow", "camera"],
    )
    def test_an_srgb_profile_changes_no_pixel(self, srgb):
        assert np.array_equal(read_picture(encoded(Image.fromarray(colours()), "PNG", icc_profile=srgb)), colours())

    def test_transparency_is_laid_on_white_after_the_conversion(self):
        rgba = np.dstack([colours(), np.full((20, 30), 128, np.uint8)])
        pixels = read_picture(encoded(Image.fromarray(rgba), "PNG", icc_profile=rgb_profile(DISPLAY_P3)))
        opaque = read_picture(encoded(Image.fromarray(colours()), "PNG", icc_profile=rgb_profile(DISPLAY_P3)))
        assert np.abs(pixels - (opaque * (128 / 255) + 255 * (127 / 255))).max() <= 1

    def test_a_grey_picture_goes_through_a_grey_profile(self):
        ramp = np.arange(256, dtype=np.uint8)[None]
        pixels = read_picture(encoded(Image.fromarray(ramp), "PNG", icc_profile=grey_profile(1.8)))
        expected = to_srgb(np.repeat(ramp[..., None], 3, -1), SRGB, 1.8)
        assert np.abs(pixels - expected).max() <= 1
        assert np.abs(expected[0, :, 0] - ramp[0]).max() > 10, "the profile must have changed something"

    def test_a_grey_picture_with_a_colour_profile_goes_through_it(self):
        ramp = np.arange(256, dtype=np.uint8)[None]
        pixels = read_picture(encoded(Image.fromarray(ramp), "JPEG", quality=100, icc_profile=rgb_profile(SRGB, gamma_curve(1.0))))
        assert 186 <= pixels[0, 128, 0] <= 190

    @pytest.mark.parametrize("icc", [b"junk" * 50, b"x", rgb_profile(ADOBE_RGB)[:300], grey_profile(1.0), cmyk_profile()])
    def test_a_broken_or_unfitting_profile_is_ignored_with_a_warning(self, icc, caplog):
        with caplog.at_level(logging.WARNING):
            pixels = read_picture(encoded(Image.fromarray(colours()), "PNG", icc_profile=icc), name="photo.png")
        assert np.array_equal(pixels, colours())
        assert "photo.png: its colour profile is ignored" in caplog.text


class TestInks:
    def test_cmyk_goes_through_its_profile(self):
        inks = np.zeros((8, 8, 4), np.uint8)
        inks[..., 3] = 128
        inks[:, 4:, 0] = 255  # cyan, which this press does not show
        data = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, icc_profile=cmyk_profile())
        pixels = read_picture(data).astype(int)
        assert np.abs(pixels - 118).max() <= 3, "lightness 50 is level 119 of sRGB"

    def test_cmyk_without_a_profile_is_converted_plainly(self):
        inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]]], np.uint8)
        pixels = read_picture(encoded(Image.fromarray(inks, "CMYK"), "TIFF"))
        assert pixels.tolist() == [[[255, 255, 255], [0, 255, 255], [255, 0, 0], [0, 0, 0]]]

    def test_inverted_inks_of_an_adobe_jpeg_are_turned_round(self):
        data = encoded(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG")
        assert b"Adobe" in data
        assert read_picture(data).min() > 250

    def test_lab_becomes_srgb(self):
        lab = ImageCms.profileToProfile(
            Image.fromarray(colours()), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
        pixels = read_picture(encoded(lab, "TIFF"))
        assert np.abs(pixels.astype(int) - colours()).mean() < 2  # Lab of 8 bits is coarse


class TestDepth:
    def test_sixteen_bit_grey_is_scaled_and_rounded(self):
        deep = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
        expected = [0, 0, 1, 1, 128, 254, 255, 255]
        for kind in ("PNG", "TIFF", "PPM"):
            assert read_picture(encoded(Image.fromarray(deep), kind))[0, :, 0].tolist() == expected
        assert read_picture(Image.fromarray(deep.astype(">u2")))[0, :, 2].tolist() == expected

    def test_every_sixteen_bit_level_rounds_to_the_nearest(self):
        deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        assert np.array_equal(read_picture(Image.fromarray(deep))[..., 0], np.rint(deep / 257).astype(np.uint8))

    def test_a_sixteen_bit_tiff_where_white_is_zero_is_turned_round(self):
        data = encoded(Image.fromarray(np.array([[0, 65535, 257]], np.uint16)), "TIFF")
        place = data.index(struct.pack("<HHI", 262, 3, 1)) + 8
        data = data[:place] + b"\0\0" + data[place + 2 :]
        assert read_picture(data)[0, :, 0].tolist() == [255, 0, 254]

    def test_grey_of_ten_bits_is_scaled(self):
        pixels = read_picture(b"P5 3 1 1023\n" + struct.pack(">3H", 0, 512, 1023))
        assert pixels[0, :, 0].tolist() == [0, 128, 255]

    def test_forty_eight_bit_png_keeps_the_high_bytes(self):
        pixels = read_picture(png_row(2, 16, 2, struct.pack(">6H", 0x1234, 0x8000, 0xFFFF, 0, 0x0100, 0xABCD)))
        assert pixels.tolist() == [[[0x12, 0x80, 0xFF], [0, 1, 0xAB]]]

    def test_integers_of_unknown_range_are_refused(self):
        with pytest.raises(PictureError, match="32-bit or signed"):
            read_picture(encoded(Image.fromarray(np.array([[0, 70000]], np.int32)), "TIFF"))
        with pytest.raises(PictureError, match="expected 0 to 65535"):
            read_picture(Image.fromarray(np.array([[0, 70000]], np.int32)))

    def test_floats_in_the_unit_range_are_scaled(self):
        values = np.array([[0.0, 0.25, 0.5, 1.0]], np.float32)
        assert read_picture(encoded(Image.fromarray(values), "TIFF"))[0, :, 1].tolist() == [0, 64, 128, 255]

    @pytest.mark.parametrize("value", [1.5, -0.1, np.nan, np.inf])
    def test_other_floats_are_refused_with_their_range(self, value):
        with pytest.raises(PictureError, match=r"outside \[0, 1\]"):
            read_picture(encoded(Image.fromarray(np.array([[0.5, value]], np.float32)), "TIFF"))


class TestTransparency:
    def test_alpha_is_blended_with_white(self):
        pixels = read_picture(Image.fromarray(np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 100, 200, 51]]], np.uint8)))
        assert pixels.tolist() == [[[255, 255, 255], [10, 20, 30], [204, 224, 244]]]

    def test_grey_with_alpha_is_blended_with_white(self):
        pixels = read_picture(Image.fromarray(np.array([[[7, 0], [7, 255], [0, 51]]], np.uint8), "LA"))
        assert pixels.tolist() == [[[255] * 3, [7] * 3, [204] * 3]]

    def test_transparent_palette_entries_become_white(self):
        image = Image.new("P", (3, 1))
        image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
        image.putdata([0, 1, 2])
        assert read_picture(encoded(image, "PNG", transparency=1)).tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
        assert read_picture(encoded(image, "GIF", transparency=1)).tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
        half = read_picture(encoded(image, "PNG", transparency=bytes([255, 0, 51])))
        assert half.tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 255]]]

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (png_row(2, 8, 2, bytes([1, 2, 3, 4, 5, 6]), png_chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))), [[255] * 3, [4, 5, 6]]),
            (png_row(2, 8, 0, bytes([7, 9]), png_chunk(b"tRNS", struct.pack(">H", 7))), [[255] * 3, [9] * 3]),
            (png_row(2, 16, 0, struct.pack(">2H", 7, 2570), png_chunk(b"tRNS", struct.pack(">H", 7))), [[255] * 3, [10] * 3]),
            (png_row(2, 1, 0, b"\x40", png_chunk(b"tRNS", struct.pack(">H", 0))), [[255] * 3, [255] * 3]),
        ],
        ids=["rgb", "grey", "grey16", "bilevel"],
    )
    def test_a_transparent_colour_becomes_white(self, data, expected):
        assert read_picture(data).tolist() == [expected]

    def test_one_bit_pictures_are_black_and_white(self):
        bits = np.array([[True, False, True]])
        assert read_picture(encoded(Image.fromarray(bits), "PNG"))[0, :, 0].tolist() == [255, 0, 255]
