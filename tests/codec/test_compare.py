"""A picture beside its prefixes: figures of the whole picture, one sheet to look at."""

import dataclasses
import math

import numpy as np
import pytest

from tests.cli.samples import pixels
from tests.codec.toy import ToyTokenizer
from vtok.codec.compare import SHOWN_SIDE, Comparison, Row, compare, doubling
from vtok.codec.compress import encode_pictures
from vtok.codec.decompress import decode_file
from vtok.codec.request import Rate
from vtok.codec.sheet import draw
from vtok.errors import LengthError, UnsupportedError
from vtok.eval.pairs.psnr import psnr
from vtok.models.decoders import DecodeOptions
from vtok.tokenizers.flextok import FlextokTokenizer
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.spec import TokenSpec


@pytest.fixture(scope="module")
def tokenizer() -> LinearTokenizer:
    return LinearTokenizer.tiny()


def spec(prefix_lengths: tuple[int, ...]) -> TokenSpec:
    return TokenSpec((16,), prefix_lengths[-1], prefix_lengths, (16, 16), (16, 16))


class TestLengths:
    def test_a_nested_string_doubles_up_to_all(self):
        assert doubling(spec(tuple(range(1, 101)))) == [1, 2, 4, 8, 16, 32, 64, 100]

    def test_scales_are_taken_at_their_ends(self):
        assert doubling(spec((1, 5, 14, 30))) == [1, 5, 14, 30]

    def test_a_fixed_string_has_one(self):
        assert doubling(spec((256,))) == [256]


class TestFigures:
    def test_each_row_is_the_file_of_that_length(self, tokenizer):
        picture = pixels(35, 50)
        comparison = compare(picture, tokenizer)
        assert [row.tokens for row in comparison.rows] == [1, 2, 4, 8]
        for row in comparison.rows:
            file = encode_pictures([picture], tokenizer, Rate(tokens=row.tokens))[0]
            assert row.num_bytes == len(file.to_bytes())
            assert row.bpp == pytest.approx(8 * row.num_bytes / (35 * 50))
            assert row.psnr == psnr(picture, decode_file(file, tokenizer))
            assert row.lpips is None

    def test_lengths_are_those_asked_for_in_order(self, tokenizer):
        assert [row.tokens for row in compare(pixels(16, 16), tokenizer, lengths=[7, 3, 7]).rows] == [3, 7]

    def test_a_length_that_does_not_decode_is_refused(self, tokenizer):
        with pytest.raises(LengthError, match="9 tokens"):
            compare(pixels(16, 16), tokenizer, lengths=[9])

    def test_whole_is_one_string(self, tokenizer):
        comparison = compare(pixels(35, 50), tokenizer, whole=True)
        assert (comparison.tiles, comparison.size) == (1, (35, 50))

    def test_tiles_overlap_as_asked_for(self):
        picture = pixels(35, 50)
        comparison = compare(picture, ToyTokenizer(), lengths=[2], overlap=3)
        file = encode_pictures([picture], ToyTokenizer(), Rate(tokens=2), overlap=3)[0]
        assert comparison.tiles == len(file.lengths) == 7 * 10
        assert comparison.rows[0].num_bytes == file.num_bytes
        assert comparison.rows[0].psnr == psnr(picture, decode_file(file, ToyTokenizer()))
        assert compare(picture, ToyTokenizer(overlap=3), lengths=[2]).tiles == 7 * 10

    def test_lpips_is_measured_on_the_whole_picture(self, tokenizer):
        seen = []

        def lpips(images, others):
            seen.append((tuple(images.shape), tuple(others.shape)))
            return images.new_full((1,), 0.5)

        rows = compare(pixels(35, 50), tokenizer, lengths=[1, 8], lpips=lpips).rows
        assert [row.lpips for row in rows] == [0.5, 0.5]
        assert seen == [((1, 3, 35, 50), (1, 3, 35, 50))] * 2

    def test_a_picture_too_small_for_lpips_has_none(self, tokenizer):
        assert compare(pixels(30, 64), tokenizer, lengths=[1], lpips=pytest.fail).rows[0].lpips is None

    def test_each_prefix_is_decoded_by_the_options(self):
        picture, stochastic, options = pixels(20, 20), FlextokTokenizer.tiny(), DecodeOptions(steps=3, seed=5)
        for row in compare(picture, stochastic, options=options).rows:
            file = encode_pictures([picture], stochastic, Rate(tokens=row.tokens))[0]
            assert row.psnr == psnr(picture, decode_file(file, stochastic, options=options))

    def test_progress_is_the_share_of_all_prefixes(self):
        told = []
        compare(pixels(20, 20), FlextokTokenizer.tiny(), lengths=[1, 6], options=DecodeOptions(steps=2, progress=told.append))
        assert told == [0.25, 0.5, 0.75, 1]

    def test_an_option_that_the_model_lacks_is_refused_before_any_work(self, tokenizer, monkeypatch):
        monkeypatch.setattr(LinearTokenizer, "latents", None)
        with pytest.raises(UnsupportedError, match="linear has no option steps"):
            compare(pixels(16, 16), tokenizer, options=DecodeOptions(steps=2))

    def test_figures_of_a_large_picture_are_those_of_all_its_pixels(self, tokenizer):
        picture = np.tile(pixels(16, 16), (1, 100, 1))
        comparison = compare(picture, tokenizer, lengths=[8])
        assert comparison.rows[0].psnr == pytest.approx(compare(pixels(16, 16), tokenizer, lengths=[8]).rows[0].psnr, abs=0.01)
        assert comparison.original.shape == comparison.rows[0].shown.shape == (8, SHOWN_SIDE, 3)


def panel(height: int, width: int, value: int) -> np.ndarray:
    """One colour, which grey text never has."""
    return np.full((height, width, 3), (value, 0, 128), np.uint8)


def places_of(sheet: np.ndarray, value: int) -> np.ndarray:
    """Rows and columns (2, number) where that panel's colour is."""
    return np.stack(np.nonzero((sheet == (value, 0, 128)).all(2)))


def comparison(height: int, width: int, count: int, size: tuple[int, int] | None = None) -> Comparison:
    rows = (Row(2**i, 100 + i, 0.1, 20.0 + i, None, panel(height, width, 10 + i)) for i in range(count))
    return Comparison(size or (height, width), 4, panel(height, width, 200), tuple(rows))


class TestSheet:
    def test_every_panel_is_there_in_order(self):
        sheet = draw(comparison(200, 300, 8))
        places = []
        for value in (200, *range(10, 18)):
            rows, cols = places_of(sheet, value)
            assert len(rows) == 200 * 300
            places.append((int(np.median(rows)), int(np.median(cols))))
        assert places == sorted(places)

    def test_the_sheet_is_neither_a_strip_nor_a_tower(self):
        for height, width in ((512, 768), (768, 512), (64, 64), (1, 768), (768, 1)):
            sheet_height, sheet_width, _ = draw(comparison(height, width, 8)).shape
            assert 0.4 < sheet_width / sheet_height < 4

    def test_captions_are_written_under_the_panels(self):
        sheet = draw(comparison(200, 400, 1))
        for value in (200, 10):
            rows, cols = places_of(sheet, value)
            under = sheet[rows.max() + 1 : rows.max() + 49, cols.min() : cols.max()]
            assert (under < 100).all(2).sum() > 300

    def test_another_figure_changes_the_picture(self):
        first = comparison(100, 300, 1)
        second = dataclasses.replace(first, rows=(dataclasses.replace(first.rows[0], psnr=math.inf),))
        assert (draw(first) != draw(second)).any()

    def test_a_scaled_original_says_so(self):
        shown, scaled = draw(comparison(300, 400, 1)), draw(comparison(300, 400, 1, size=(600, 800)))
        assert scaled.shape == shown.shape
        assert (scaled != shown).any()

    def test_a_tiny_picture_is_enlarged_in_whole_steps(self):
        sheet = draw(comparison(2, 3, 1))
        rows, cols = places_of(sheet, 200)
        assert (np.ptp(rows) + 1, np.ptp(cols) + 1) == (84, 126)
