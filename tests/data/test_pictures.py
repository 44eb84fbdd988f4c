"""Reading every everyday kind of picture, refusing every broken one with one line, and writing."""

import csv
import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from vtok.data import encode_png, read_picture, read_size, write_picture
from vtok.errors import OutputError, PictureError

BAD = Path(os.environ.get("VTOK_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data" / "bad"
EXPECTED = list(csv.DictReader((BAD / "expected.tsv").open(), delimiter="\t")) if BAD.is_dir() else []
EXPECTED_IDS = [row["file"] for row in EXPECTED]


def photo(height: int = 24, width: int = 36) -> np.ndarray:
    """A smooth picture without symmetry, so that JPEG keeps it and any turn or flip shows."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    return (255 * np.stack([x, y, (1 - x) * y], -1)).round().astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def pixels_or_line(data: bytes) -> np.ndarray | str:
    try:
        return read_picture(data, max_pixels=1_000_000)
    except PictureError as error:
        return str(error)


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def raw_png(size: tuple[int, int], depth: int, colour_type: int, pixels: bytes, extra: bytes = b"") -> bytes:
    """A PNG of one row or of given bytes, with filters already in them."""
    header = struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(pixels)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


class TestStoredHostileFiles:
    @pytest.mark.parametrize("row", EXPECTED, ids=EXPECTED_IDS)
    def test_each_is_read_or_refused_as_the_table_says(self, row):
        path = BAD / row["file"]
        if row["expect"] in ("error", "refuse"):
            with pytest.raises(PictureError) as caught:
                read_picture(path)
            assert str(caught.value).startswith(str(path))
            assert "\n" not in str(caught.value)
            return
        pixels = read_picture(path)
        width, height = map(int, row["stored_size"].split("x"))
        turned = row["file"] in ("exif_5.jpg", "exif_6.jpg", "exif_7.jpg", "exif_8.jpg")
        assert pixels.shape == ((width, height, 3) if turned else (height, width, 3))
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert read_size(path) == pixels.shape[:2]
        assert pixels.std() > 10 or pixels.size == 3

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_all_orientations_show_the_same_picture(self, shared, orientation):
        bad = shared / "data" / "bad"
        assert difference(read_picture(bad / f"exif_{orientation}.jpg"), read_picture(bad / "exif_reference.png")) < 4

    def test_sixteen_bit_grey_keeps_its_brightness(self, shared):
        pixels = read_picture(shared / "data" / "bad" / "gray16.png")
        assert abs(pixels.mean() - 119.5) < 0.1

    def test_float_tiff_is_as_bright_as_the_grey_picture(self, shared):
        assert read_picture(shared / "data" / "bad" / "float32.tiff").mean() > 100

    @pytest.mark.parametrize("name", ["rgba.png", "rgba.webp", "gray_alpha.png"])
    def test_transparency_lies_on_white(self, shared, name):
        pixels = read_picture(shared / "data" / "bad" / name)
        assert pixels[:, 0].mean() > 250, "the left side is fully transparent"
        assert pixels[:, -1].mean() < 200, "the right side is opaque"

    @pytest.mark.parametrize("name", ["animated.gif", "animated.png", "animated.webp", "multipage.tiff"])
    def test_the_first_frame_is_used(self, shared, name):
        path = shared / "data" / "bad" / name
        with Image.open(path) as image:
            image.seek(0)
            first = np.asarray(image.convert("RGB"))
            image.seek(1)
            second = np.asarray(image.convert("RGB"))
        assert difference(read_picture(path), first) == 0
        assert difference(read_picture(path), second) > 1


class TestOrientation:
    @pytest.mark.parametrize(
        ("orientation", "as_stored"),
        [
            (1, lambda p: p),
            (2, lambda p: p[:, ::-1]),
            (3, lambda p: p[::-1, ::-1]),
            (4, lambda p: p[::-1]),
            (5, lambda p: p.swapaxes(0, 1)),
            (6, lambda p: np.rot90(p, 1)),
            (7, lambda p: p[::-1, ::-1].swapaxes(0, 1)),
            (8, lambda p: np.rot90(p, -1)),
        ],
    )
    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
    def test_a_turned_picture_is_read_upright(self, kind, orientation, as_stored):
        upright = photo()
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(Image.fromarray(np.ascontiguousarray(as_stored(upright))), kind, exif=exif, **options)
        assert np.array_equal(read_picture(data), upright)

    def test_a_png_whose_orientation_follows_its_pixels_is_read_upright(self):
        exif = Image.Exif()
        exif[0x0112] = 3
        data = encoded(Image.fromarray(photo()), "PNG", exif=exif)
        start = data.index(b"eXIf") - 4
        length = struct.unpack(">I", data[start : start + 4])[0] + 12
        end = data.index(b"IEND") - 4
        moved = data[:start] + data[start + length : end] + data[start : start + length] + data[end:]
        assert np.array_equal(read_picture(moved), photo()[::-1, ::-1])

    def test_a_large_picture_is_turned_in_strips_without_a_seam(self):
        rng = np.random.default_rng(0)
        upright = rng.integers(0, 256, (1500, 1100, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[0x0112] = 6
        data = encoded(Image.fromarray(np.ascontiguousarray(np.rot90(upright))), "PNG", exif=exif, compress_level=0)
        assert np.array_equal(read_picture(data), upright)

    def test_damaged_exif_means_as_stored(self):
        data = encoded(Image.fromarray(photo()), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
        assert np.array_equal(read_picture(data), photo())

    def test_read_size_is_upright_and_decodes_nothing(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        data = encoded(Image.fromarray(photo(240, 360)), "JPEG", exif=exif)
        (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
        assert read_size(tmp_path / "cut.jpg") == (360, 240)


class TestFormats:
    @pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "QOI"])
    def test_lossless_formats_give_the_same_pixels(self, kind):
        assert np.array_equal(read_picture(encoded(Image.fromarray(photo()), kind)), photo())

    @pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
    def test_lossy_formats_give_nearly_the_same_pixels(self, kind):
        assert difference(read_picture(encoded(Image.fromarray(photo()), kind)), photo()) < 4

    def test_the_content_decides_and_not_the_extension(self, tmp_path):
        (tmp_path / "x.jpg").write_bytes(encoded(Image.fromarray(photo()), "PNG"))
        assert np.array_equal(read_picture(tmp_path / "x.jpg"), photo())

    def test_bytes_after_the_end_do_no_harm(self):
        data = encoded(Image.fromarray(photo()), "JPEG")
        assert np.array_equal(read_picture(data + b"junk" * 100), read_picture(data))

    def test_paths_streams_bytes_and_images_give_the_same(self, tmp_path):
        data = encoded(Image.fromarray(photo()), "PNG")
        (tmp_path / "x.png").write_bytes(data)
        for source in (tmp_path / "x.png", str(tmp_path / "x.png"), data, io.BytesIO(data), Image.fromarray(photo())):
            assert np.array_equal(read_picture(source), photo())

    def test_a_pipe_can_be_read(self, tmp_path):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_bytes, args=(encoded(Image.fromarray(photo()), "PNG"),))
        writer.start()
        assert np.array_equal(read_picture(pipe), photo())
        writer.join()

    def test_an_image_given_stays_as_it_was(self):
        image = Image.fromarray(photo()).convert("P")
        before = image.tobytes()
        read_picture(image)
        assert (image.mode, image.tobytes()) == ("P", before)

    @given(
        st.integers(1, 9), st.integers(1, 9), st.sampled_from(["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
    )
    def test_any_small_picture_of_any_mode_is_read(self, height, width, mode):
        pixels = read_picture(Image.new(mode, (width, height)))
        assert pixels.shape == (height, width, 3)
        assert pixels.dtype == np.uint8


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "is empty"),
            (b"<html>not a picture</html>", "not a picture"),
            (b"\x89PNG\r\n\x1a\n", "damaged"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        ],
    )
    def test_what_is_no_picture_is_named_in_one_line(self, tmp_path, content, words):
        path = tmp_path / "x.png"
        path.write_bytes(content)
        with pytest.raises(PictureError, match=words) as caught:
            read_picture(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)

    def test_a_name_with_a_line_break_still_gives_one_line(self, tmp_path):
        with pytest.raises(PictureError) as caught:
            read_picture(tmp_path / "two\nlines.png")
        assert str(caught.value).endswith("two?lines.png: no such file")

    def test_a_missing_file_and_a_folder_are_named(self, tmp_path):
        with pytest.raises(PictureError, match=r"none\.png: no such file"):
            read_picture(tmp_path / "none.png")
        with pytest.raises(PictureError, match="is a folder"):
            read_picture(tmp_path)
        (tmp_path / "file").touch()
        with pytest.raises(PictureError, match="cannot be opened"):
            read_picture(tmp_path / "file" / "below.png")

    def test_lack_of_permission_is_named(self, tmp_path, monkeypatch):
        def refuse(*_args, **_options):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(PictureError, match="no permission"):
            read_picture(tmp_path / "x.png")

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "AVIF", "TIFF", "BMP", "PPM", "QOI"])
    def test_a_cut_file_is_never_read_as_something_else(self, kind):
        data = encoded(Image.fromarray(photo()), kind)
        whole = read_picture(data)
        for cut in range(1, len(data), max(1, len(data) // 40)):
            found = pixels_or_line(data[:cut])
            assert "\n" not in found if isinstance(found, str) else np.array_equal(found, whole)

    def test_a_cut_file_is_refused_even_where_another_library_allows_it(self, monkeypatch):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        data = encoded(Image.fromarray(photo(200, 300)), "JPEG")
        with pytest.raises(PictureError, match="cut short"):
            read_picture(data[: len(data) // 2])
        assert ImageFile.LOAD_TRUNCATED_IMAGES is True

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_damaged_bytes_give_a_picture_or_one_line(self, data):
        kind = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "PPM", "QOI"]))
        content = bytearray(encoded(Image.fromarray(photo(12, 18)), kind))
        for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=8)):
            content[place] = value
        found = pixels_or_line(bytes(content))
        assert "\n" not in found if isinstance(found, str) else found.dtype == np.uint8


class TestPixelLimit:
    def test_a_bomb_is_refused_before_its_pixels_are_decoded(self):
        bomb = raw_png((50_000, 50_000), 1, 0, b"\0")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(PictureError, match="50000x50000"):
                read_picture(bomb)

    def test_a_picture_between_two_limits_of_pillow_is_refused_without_a_warning(self, capfd):
        data = raw_png((12_000, 12_000), 1, 0, b"\0" * (1501 * 12_000))
        with pytest.raises(PictureError, match=r"144\.0 million"):
            read_picture(data, name="bomb.png")
        assert capfd.readouterr() == ("", "")

    def test_the_limit_counts_pixels_and_can_be_set(self):
        data = encode_png(photo(10, 20))
        assert read_picture(data, max_pixels=200).shape == (10, 20, 3)
        with pytest.raises(PictureError, match="20x10"):
            read_picture(data, max_pixels=199)

    def test_pillows_own_limit_neither_applies_nor_changes(self, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        filters = list(warnings.filters)
        assert read_picture(encode_png(photo())).shape == (24, 36, 3)
        assert Image.MAX_IMAGE_PIXELS == 10
        assert warnings.filters == filters

    def test_threads_leave_pillows_settings_as_they_were(self, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        data = encode_png(photo())
        with ThreadPoolExecutor(4) as pool:
            assert all(np.array_equal(pixels, photo()) for pixels in pool.map(read_picture, [data] * 200))
        assert Image.MAX_IMAGE_PIXELS == 10

    @pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory in kilobytes, as Linux gives it")
    def test_a_large_jpeg_takes_little_more_than_pillows_picture_and_the_result(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (5000, 4000), (90, 120, 30)).save(tmp_path / "x.jpg", exif=exif)
        code = (
            "import resource, sys; from vtok.data import read_picture, encode_png; import numpy as np\n"
            "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
            "read_picture(encode_png(np.zeros((8, 8, 3), np.uint8))); before = peak()\n"
            "read_picture(sys.argv[1]); print(peak() - before)"
        )
        out = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.jpg")], capture_output=True, text=True, check=True)
        pixels = 5000 * 4000
        assert int(out.stdout) < pixels * (4 + 3) + 30e6  # 4 bytes a pixel in Pillow, 3 in the result, strips and the decoder


class TestWriting:
    @pytest.mark.parametrize("extension", ["png", "webp", "PNG"])
    def test_lossless_files_come_back_equal(self, tmp_path, extension):
        path = tmp_path / f"x.{extension}"
        write_picture(path, photo())
        assert np.array_equal(read_picture(path), photo())

    @pytest.mark.parametrize("extension", ["jpg", "jpeg"])
    def test_jpeg_comes_back_nearly_equal(self, tmp_path, extension):
        path = tmp_path / f"x.{extension}"
        write_picture(path, photo())
        assert difference(read_picture(path), photo()) < 1.5

    def test_jpeg_keeps_fine_colours(self, tmp_path):
        stripes = np.zeros((32, 32, 3), np.uint8)
        stripes[:, ::2], stripes[:, 1::2] = (255, 0, 0), (0, 0, 255)
        write_picture(tmp_path / "x.jpg", stripes)
        assert difference(read_picture(tmp_path / "x.jpg"), stripes) < 5

    def test_an_unknown_extension_names_those_that_work(self, tmp_path):
        for name in ("x.bmp", "x"):
            with pytest.raises(OutputError, match=r"\.png, \.jpg, \.jpeg, \.webp"):
                write_picture(tmp_path / name, photo())
        assert list(tmp_path.iterdir()) == []

    def test_a_size_that_the_format_cannot_hold_is_named(self, tmp_path):
        with pytest.raises(OutputError, match=r"20000x1 .*\.png"):
            write_picture(tmp_path / "x.webp", np.zeros((1, 20_000, 3), np.uint8))
        assert list(tmp_path.iterdir()) == []

    def test_a_missing_folder_is_named(self, tmp_path):
        with pytest.raises(OutputError, match="does not exist"):
            write_picture(tmp_path / "none" / "x.png", photo())

    def test_png_bytes_are_a_png_of_the_pixels(self):
        data = encode_png(photo())
        assert data.startswith(b"\x89PNG")
        assert b"sRGB" in data[:64]
        assert np.array_equal(read_picture(data), photo())

    def test_wrong_pixels_are_a_programming_error(self, tmp_path):
        for pixels in (photo().astype(np.float32), photo()[..., 0], np.zeros((0, 4, 3), np.uint8)):
            with pytest.raises(ValueError, match="uint8"):
                write_picture(tmp_path / "x.png", pixels)


def test_a_disk_that_fails_at_the_first_byte_is_named(tmp_path, monkeypatch):
    class Failing(io.BytesIO):
        def read(self, _=-1):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", lambda *_, **__: Failing())
    with pytest.raises(PictureError, match=r"worn\.png: .*Input/output error"):
        read_picture(tmp_path / "worn.png")


@pytest.mark.parametrize("source", [None, 3, [[0]], (1, 2)])
def test_what_is_no_picture_source_is_a_mistake_of_the_program(source):
    with pytest.raises(TypeError, match=type(source).__name__):
        read_picture(source)
