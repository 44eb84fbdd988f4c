"""Pictures to files and back, with a tokenizer that is small enough to follow."""

import importlib
import math

import numpy as np
import pytest
import torch
from PIL import Image

from tests.codec.strategies import assert_equal
from tests.codec.toy import SIDE, ToyTokenizer, photo
from vtok.codec import Rate, TokenFile, compress, decode_file, decompress, encode_pictures
from vtok.errors import BudgetError, LengthError, ModelMismatchError, PictureError, UnsupportedError
from vtok.eval.pairs.psnr import psnr

SIZES = [(1, 1), (67, 43), (1, 400), (400, 1), (8, 8), (9, 16)]
TOY = ToyTokenizer()


def encode(picture, rate=None, tokenizer=TOY, **options):
    return encode_pictures([picture], tokenizer, rate or Rate(), **options)[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("whole", [False, True])
def test_a_picture_of_any_size_comes_back_in_its_size(size, whole):
    picture = photo(*size)
    file = TokenFile.from_bytes(compress(picture, whole=whole, model=TOY))
    assert file.size == size
    assert file.grid == ((1, 1) if whole else (-(-size[0] // SIDE), -(-size[1] // SIDE)))
    decoded = decompress(file.to_bytes(), model=TOY)
    assert (decoded.size, decoded.mode) == (size[::-1], "RGB")
    assert abs(np.asarray(decoded).mean() - picture.mean()) < 25


def test_the_picture_comes_back_where_it_was():
    picture = photo(67, 43)
    file = encode(picture)
    padded = np.pad(picture, ((0, 5), (0, 5), (0, 0)), mode="edge")
    images = torch.from_numpy(padded).permute(2, 0, 1)[None] / 255
    expected = TOY.encode_grid(images)
    np.testing.assert_array_equal(file.ids, expected.ids)
    decoded = (TOY.decode_grid(expected, 9, 6) * 255).round().byte()[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(decode_file(file, TOY), decoded[:67, :43])


@pytest.mark.parametrize("rate", [Rate(), Rate(tokens=5), Rate(num_bytes=600), Rate(bpp=2.0), Rate(psnr=15.0)])
def test_pictures_of_many_sizes_give_the_same_files_together_and_alone(rate):
    pictures = [photo(*size, seed) for seed, size in enumerate([(30, 40), (27, 43), (32, 37), (8, 70), (27, 43)])]
    captions = ["a", None, "c", None, ""]
    together = encode_pictures(pictures, TOY, rate, captions=captions)
    for picture, caption, file in zip(pictures, captions, together, strict=True):
        assert_equal(encode(picture, rate, captions=[caption]), file)


def test_large_groups_go_through_the_tokenizer_in_batches(monkeypatch):
    batches = []

    def encode_grid(self, images, num_tokens=None, **more):
        batches.append(tuple(images.shape))
        return super(ToyTokenizer, self).encode_grid(images, num_tokens, **more)

    monkeypatch.setattr(importlib.import_module("vtok.codec.compress"), "_BATCH_PIXELS", 3 * 16 * 16)
    monkeypatch.setattr(ToyTokenizer, "encode_grid", encode_grid)
    encode_pictures([photo(16, 16)] * 4 + [photo(9, 40)] + [photo(15, 12)], TOY, Rate(tokens=1))
    assert batches == [(3, 3, 16, 16), (2, 3, 16, 16), (1, 3, 16, 40)]


@pytest.mark.parametrize("num_bytes", [100, 200, 300, 450])
def test_the_file_has_at_most_the_bytes_asked_for(num_bytes):
    data = compress(photo(67, 43), bytes=num_bytes, model=TOY)
    assert num_bytes - 10 <= len(data) <= num_bytes


def test_the_file_has_at_most_the_bits_a_pixel_asked_for():
    picture = photo(120, 160)
    data = compress(picture, bpp=1.0, model=TOY)
    assert 0.98 < 8 * len(data) / (120 * 160) <= 1.0


def test_busy_tiles_get_more_tokens_and_the_picture_is_better_than_with_equal_lengths():
    picture = photo(96, 128)
    equal = encode(picture, Rate(tokens=6))
    varied = encode(picture, Rate(num_bytes=equal.num_bytes))
    lengths = varied.lengths.reshape(varied.grid)
    assert lengths[:, 8:].mean() > lengths[:, :8].mean()
    assert psnr(picture, decode_file(varied, TOY)) > psnr(picture, decode_file(equal, TOY)) + 0.3


def test_a_quality_is_reached_with_fewer_bytes_than_all():
    picture = photo(96, 128)
    best = psnr(picture, decode_file(encode(picture), TOY))
    file = encode(picture, Rate(psnr=best - 2))
    assert best - 2 <= psnr(picture, decode_file(file, TOY)) < best - 1.9
    assert file.num_bytes < 0.8 * encode(picture).num_bytes


def test_a_quality_out_of_reach_says_what_can_be_reached():
    picture = photo(40, 40)
    best = psnr(picture, decode_file(encode(picture), TOY))
    with pytest.raises(BudgetError, match=f"80 dB asked, .* reach {best:.2f} dB"):
        compress(picture, psnr=80, model=TOY)


def test_too_few_bytes_are_refused_before_the_file_is_made():
    with pytest.raises(BudgetError, match=r"50 bytes are too few: 54 tiles of 1 token take 62; .*--whole"):
        compress(photo(67, 43), bytes=50, model=TOY)
    assert len(compress(photo(67, 43), bytes=39, model=TOY, whole=True)) <= 39


@pytest.mark.parametrize("whole", [False, True])
def test_a_prefix_decodes_as_the_truncated_file(whole):
    picture = photo(50, 70)
    data = compress(picture, tokens=5, whole=whole, model=TOY)
    short = decompress(compress(picture, tokens=2, whole=whole, model=TOY), model=TOY)
    np.testing.assert_array_equal(np.asarray(decompress(data, tokens=2, model=TOY)), np.asarray(short))


def test_more_tokens_make_a_better_picture():
    picture = photo(80, 80)
    file = encode(picture)
    quality = [psnr(picture, decode_file(file, TOY, tokens=n)) for n in (1, 3, 9, 24)]
    assert quality == sorted(quality)


def test_a_cut_file_decodes():
    picture = photo(80, 80)
    data = compress(picture, model=TOY)
    decoded = np.asarray(decompress(data[: len(data) // 2], model=TOY))
    assert decoded.shape == picture.shape
    assert psnr(picture, decoded) > 12


def test_lengths_that_do_not_decode_are_refused():
    with pytest.raises(LengthError, match="25 tokens do not decode here; lengths that do: 1 to 24"):
        encode(photo(8, 8), Rate(tokens=25))
    with pytest.raises(LengthError, match="0 tokens do not decode here"):
        decode_file(encode(photo(8, 8)), TOY, tokens=0)


def test_a_model_with_few_prefixes_keeps_to_them():
    tokenizer = ToyTokenizer(prefixes=(3, 12, 24))
    file = encode(photo(64, 64), Rate(num_bytes=400), tokenizer)
    assert set(file.lengths.tolist()) <= {3, 12, 24}
    assert decode_file(file, tokenizer).shape == (64, 64, 3)


@pytest.mark.parametrize("whole", [False, True])
def test_a_model_that_decodes_larger_pictures_gives_the_source_size(whole):
    picture = photo(67, 43)
    larger, plain = ToyTokenizer(zoom=2), ToyTokenizer()
    decoded = decode_file(encode(picture, tokenizer=larger, whole=whole), larger)
    assert decoded.shape == picture.shape
    assert psnr(decoded, decode_file(encode(picture, whole=whole), plain)) > 25


def test_other_weights_are_refused_with_both_digests():
    other = ToyTokenizer(step=0.2)
    data = compress(photo(20, 20), model=TOY)
    with pytest.raises(ModelMismatchError, match=f"{TOY.code_digest[:8]}.*{other.code_digest[:8]}.*--model"):
        decompress(data, model=other)


def test_a_file_that_borrows_a_digest_is_refused():
    file = encode(photo(20, 20), tokenizer=ToyTokenizer(prefixes=(3, 24)))
    forged = TokenFile(file.spec, bytes.fromhex(TOY.code_digest)[:4], file.size, file.whole, file.lengths, file.ids)
    with pytest.raises(ModelMismatchError, match="strings are of another kind"):
        decode_file(forged, TOY)


def test_without_a_model_the_default_codes_and_the_digest_finds_it_again(monkeypatch):
    other, asked = ToyTokenizer(step=0.2), []
    monkeypatch.setattr("vtok.weights.load_tokenizer", lambda name=None: TOY if name is None else other)
    monkeypatch.setattr("vtok.weights.load_by_digest", lambda digest: asked.append(digest) or None)
    data = compress(photo(20, 20))
    assert np.asarray(decompress(data)).shape == (20, 20, 3)
    assert asked == [bytes.fromhex(TOY.code_digest)[:4]]
    with pytest.raises(ModelMismatchError):
        decompress(compress(photo(20, 20), model="other"))
    monkeypatch.setattr("vtok.weights.load_by_digest", lambda _: other)
    assert decompress(compress(photo(20, 20), model="other")).size == (20, 20)


def test_picture_files_and_pillow_images_give_the_same_bytes(tmp_path):
    picture = photo(30, 20)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    data = compress(picture, tokens=3, model=TOY)
    assert compress(tmp_path / "picture.png", tokens=3, model=TOY) == data
    assert compress(str(tmp_path / "picture.png"), tokens=3, model=TOY) == data
    assert compress(Image.fromarray(picture), tokens=3, model=TOY) == data


def test_the_caption_reaches_a_decoder_that_takes_text():
    file = encode(photo(20, 20), captions=["a cat"])
    decode_file(file, TOY)
    assert TOY.given.text == ["a cat"]


def test_text_in_the_options_comes_before_the_caption():
    from vtok.tokenizers.base import DecodeOptions

    decode_file(encode(photo(20, 20), captions=["a cat"]), TOY, options=DecodeOptions(text=["a dog"]))
    assert TOY.given.text == ["a dog"]


def test_the_caption_does_not_disturb_a_decoder_without_text(monkeypatch):
    monkeypatch.setattr(ToyTokenizer, "decode_options", frozenset())
    decode_file(encode(photo(20, 20), captions=["a cat"]), TOY)
    assert TOY.given.text is None


def test_an_option_that_the_model_lacks_is_refused():
    from vtok.tokenizers.base import DecodeOptions

    with pytest.raises(UnsupportedError, match="steps"):
        decode_file(encode(photo(20, 20)), TOY, options=DecodeOptions(steps=3))


def test_what_cannot_be_stored_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(ToyTokenizer, "encode_grid", None)
    with pytest.raises(PictureError, match="65536 x 1 pixels"):
        encode(np.zeros((1, 65536, 3), np.uint8))
    with pytest.raises(UnsupportedError, match="caption takes 5000 bytes"):
        encode(photo(8, 8), captions=["x" * 5000])
    with pytest.raises(ValueError, match=r"pixels must be \(H, W, 3\) uint8, got \(8, 8\) uint8"):
        encode(photo(8, 8)[..., 0])


class TestOverlap:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("overlap", [1, 3, 4])
    @pytest.mark.parametrize("zoom", [1, 2])
    def test_a_picture_of_any_size_comes_back_in_its_size(self, size, overlap, zoom):
        picture, tokenizer = photo(*size), ToyTokenizer(zoom=zoom)
        file = TokenFile.from_bytes(compress(picture, overlap=overlap, model=tokenizer))
        assert file.grid == tuple(max(1, math.ceil((side - overlap) / (SIDE - overlap))) for side in size)
        assert file.overlap == (0 if file.grid == (1, 1) else overlap)
        decoded = np.asarray(decompress(file.to_bytes(), model=tokenizer))
        assert decoded.shape == picture.shape
        assert abs(decoded.mean() - picture.mean()) < 25

    def test_the_picture_comes_back_where_it_was(self):
        picture = photo(67, 43)
        file = encode(picture, overlap=3)
        assert file.grid == (13, 8)
        padded = np.pad(picture, ((0, 1), (0, 0), (0, 0)), mode="edge")
        expected = TOY.encode_grid(torch.from_numpy(padded).permute(2, 0, 1)[None] / 255, overlap=3)
        np.testing.assert_array_equal(file.ids, expected.ids)
        decoded = (TOY.decode_grid(expected, 13, 8, overlap=3) * 255).round().byte()[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(decode_file(file, TOY), decoded[:67, :43])

    def test_borders_between_tiles_are_fainter(self):
        gradient = np.linspace(0, 255, 80)[None, :, None].repeat(40, 0).repeat(3, 2).round().astype(np.uint8)

        def largest_step(overlap):
            decoded = decode_file(encode(gradient, Rate(tokens=3), overlap=overlap), TOY)  # a grey level for each tile
            return np.abs(np.diff(decoded.astype(int), axis=1)).max()

        assert largest_step(4) < 0.5 * largest_step(0)

    def test_none_takes_what_the_tokenizer_has(self):
        own = ToyTokenizer(overlap=2)
        assert encode(photo(20, 20), tokenizer=own).overlap == 2
        assert encode(photo(20, 20), tokenizer=own, overlap=0).overlap == 0
        assert encode(photo(20, 20), tokenizer=own, overlap=4).overlap == 4
        assert TokenFile.from_bytes(compress(photo(20, 20), model=own)).overlap == 2
        assert encode(photo(20, 20)).overlap == 0

    @pytest.mark.parametrize("options", [{"whole": True}, {}])
    def test_one_tile_has_none(self, options):
        picture = photo(40, 40) if options else photo(8, 5)
        assert encode(picture, tokenizer=ToyTokenizer(overlap=2), **options).to_bytes() == encode(picture, **options).to_bytes()

    def test_none_at_all_gives_the_bytes_that_there_were_before(self):
        assert encode(photo(30, 20), overlap=0).to_bytes()[3] == 1
        assert encode(photo(30, 20), overlap=1).to_bytes()[3] == 2

    @pytest.mark.parametrize("rate", [Rate(), Rate(tokens=5), Rate(num_bytes=600), Rate(bpp=8.0), Rate(psnr=15.0)])
    def test_pictures_of_many_sizes_give_the_same_files_together_and_alone(self, rate):
        pictures = [photo(*size, seed) for seed, size in enumerate([(30, 40), (27, 43), (32, 37), (8, 8), (8, 70), (5, 6), (27, 43)])]
        together = encode_pictures(pictures, TOY, rate, overlap=3)
        for picture, file in zip(pictures, together, strict=True):
            assert_equal(encode(picture, rate, overlap=3), file)

    @pytest.mark.parametrize("num_bytes", [200, 300, 600])
    def test_the_file_has_at_most_the_bytes_asked_for(self, num_bytes):
        data = compress(photo(67, 43), bytes=num_bytes, overlap=2, model=TOY)
        assert num_bytes - 10 <= len(data) <= num_bytes
        assert TokenFile.from_bytes(data).overlap == 2

    def test_the_file_has_at_most_the_bits_a_pixel_asked_for(self):
        data = compress(photo(120, 160), bpp=1.0, overlap=2, model=TOY)
        assert 0.98 < 8 * len(data) / (120 * 160) <= 1.0

    def test_a_quality_is_reached(self):
        picture = photo(96, 128)
        best = psnr(picture, decode_file(encode(picture, overlap=2), TOY))
        file = encode(picture, Rate(psnr=best - 2), overlap=2)
        assert best - 2 <= psnr(picture, decode_file(file, TOY)) < best - 1.9

    def test_a_cut_file_decodes(self):
        picture = photo(80, 80)
        data = compress(picture, overlap=3, model=TOY)
        decoded = np.asarray(decompress(data[: len(data) // 2], model=TOY))
        assert decoded.shape == picture.shape
        assert psnr(picture, decoded) > 12

    def test_a_prefix_decodes_as_the_truncated_file(self):
        data = compress(photo(50, 70), tokens=5, overlap=3, model=TOY)
        short = decompress(compress(photo(50, 70), tokens=2, overlap=3, model=TOY), model=TOY)
        np.testing.assert_array_equal(np.asarray(decompress(data, tokens=2, model=TOY)), np.asarray(short))

    def test_the_caption_reaches_every_tile(self, monkeypatch):
        given = []

        def reconstruct(self, vectors, lengths, options):
            given.extend(options.text)
            return reconstructed(self, vectors, lengths, options)

        reconstructed = ToyTokenizer.reconstruct
        monkeypatch.setattr(ToyTokenizer, "reconstruct", reconstruct)
        file = encode(photo(60, 60), captions=["a cat"], overlap=2)
        decode_file(file, TOY)
        assert given == ["a cat"] * 100

    def test_what_the_tokenizer_does_not_take_is_refused_before_any_work(self, monkeypatch):
        monkeypatch.setattr(ToyTokenizer, "encode_grid", None)
        with pytest.raises(UnsupportedError, match="an overlap of 5 pixels is more than half a tile; toy takes 0 to 4"):
            compress(photo(67, 43), overlap=5, model=TOY)
        with pytest.raises(ValueError, match="overlap must be at least 0, got -1"):
            compress(photo(67, 43), overlap=-1, model=TOY)
        monkeypatch.setattr(ToyTokenizer, "sees_neighbours", True)
        with pytest.raises(UnsupportedError, match="tiles of toy see their neighbours and need no overlap: 2 pixels asked, take 0"):
            compress(photo(67, 43), overlap=2, model=TOY)

    def test_a_picture_of_too_many_tiles_that_overlap_is_refused(self):
        picture = np.zeros((1032, 1028, 3), np.uint8)
        with pytest.raises(PictureError, match="257 x 256 tiles; at most 65536"):
            encode(picture, overlap=4)

    def test_a_file_that_borrows_a_digest_is_refused(self, monkeypatch):
        file = encode(photo(20, 20), overlap=2)
        monkeypatch.setattr(ToyTokenizer, "sees_neighbours", True)
        with pytest.raises(ModelMismatchError, match=r"its tiles are cut otherwise .*see their neighbours.*: it is damaged, or forged"):
            decode_file(file, TOY)


def test_no_pictures_give_no_files():
    assert encode_pictures([], TOY, Rate()) == []


def test_the_function_is_not_hidden_by_the_module_of_its_name():
    import vtok.codec
    import vtok.codec.compress
    import vtok.codec.decompress
    import vtok.codec.truncate

    assert callable(vtok.codec.compress)
    assert callable(vtok.codec.decompress)
    assert callable(vtok.codec.truncate)
