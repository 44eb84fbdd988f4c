"""The scripts of `benchmarks/`: that they measure what the product does. How good or fast it is, no test says."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import rate_distortion, record
from benchmarks.pictures import Pictures
from benchmarks.quality import Original
from vtok import compress, decompress
from vtok.data.eight_bit import from_eight_bit
from vtok.eval.pairs.lpips import Lpips
from vtok.eval.pairs.psnr import psnr
from vtok.tokenizers.linear import LinearTokenizer

LENGTHS = (1, 2, 5, 8)


@pytest.fixture(scope="module")
def tokenizer():
    return LinearTokenizer.tiny()


@pytest.fixture(scope="module")
def picture():
    """35 rows of 50 pixels, smooth on the left and busy on the right: 3 x 4 tiles."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 200, 50) + np.linspace(0, 30, 35)[:, None]
    noise = rng.normal(0, 60, (35, 50, 3)) * (np.arange(50) > 25)[:, None]
    return (ramp[..., None] + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def curves(picture, tokenizer):
    return rate_distortion.curves(picture, tokenizer, LENGTHS, None)


def test_rows_of_equal_lengths_are_those_of_the_product(picture, tokenizer, curves):
    files = [compress(picture, tokens=n, model=tokenizer) for n in LENGTHS]
    assert [row["tokens"] for row in curves["equal"]] == list(LENGTHS)
    assert [row["bytes"] for row in curves["equal"]] == [len(file) for file in files]
    decoded = [np.asarray(decompress(file, model=tokenizer)) for file in files]
    assert [row["psnr"] for row in curves["equal"]] == pytest.approx([psnr(picture, pixels) for pixels in decoded], abs=1e-4)


def test_rows_of_lengths_per_tile_are_files_of_the_product_at_most_as_large(picture, tokenizer, curves):
    for equal, per_tile in zip(curves["equal"], curves["per_tile"], strict=True):
        file = compress(picture, bytes=int(equal["bytes"]), model=tokenizer)
        assert per_tile["bytes"] == len(file) <= equal["bytes"]
        assert per_tile["psnr"] == pytest.approx(psnr(picture, np.asarray(decompress(file, model=tokenizer))), abs=1e-4)


def test_rows_of_rate_control_are_files_of_the_product_of_the_sizes_wanted(picture, tokenizer):
    wanted = (0.3, 0.25)
    rows = rate_distortion.curves(picture, tokenizer, (1,), None, wanted=wanted)["rate_control"]
    files = [compress(picture, bpp=bpp, model=tokenizer) for bpp in wanted]
    assert [row["wanted_bpp"] for row in rows] == list(wanted)
    assert [row["bytes"] for row in rows] == [len(file) for file in files]
    decoded = [np.asarray(decompress(file, model=tokenizer)) for file in files]
    assert [row["psnr"] for row in rows] == pytest.approx([psnr(picture, pixels) for pixels in decoded], abs=1e-4)


def test_results_with_and_without_rate_control(tmp_path, picture, tokenizer, monkeypatch, capsys):
    Image.fromarray(picture).save(tmp_path / "a.png")
    tokenizer.save_pretrained(tmp_path / "model")
    results = []
    for sizes in ((), ("--bpp", "0.25", "0.3")):
        file = tmp_path / "result.json"
        fixed = (str(tmp_path), "--model", str(tmp_path / "model"), "--no-lpips", "-o", str(file))
        monkeypatch.setattr("sys.argv", ["rate_distortion", *fixed, *sizes])
        rate_distortion.main()
        results.append(json.loads(file.read_text()))
    capsys.readouterr()
    without, with_sizes = results
    assert "rate_control" not in without["mean"]
    assert [row["wanted_bpp"] for row in with_sizes["mean"]["rate_control"]] == [0.25, 0.3]


def test_lpips_of_features_kept_is_lpips(shared, picture, monkeypatch):
    monkeypatch.setenv("VTOK_LPIPS_WEIGHTS", str(shared / "data" / "weights" / "lpips_alex.safetensors"))
    lpips, other = Lpips(), picture[::-1].copy()
    expected = float(lpips(from_eight_bit(picture), from_eight_bit(other)))
    assert Original(picture, lpips).figures(other)["lpips"] == pytest.approx(expected, abs=1e-5)


def test_a_result_has_a_row_a_line_and_reads_back(curves):
    result = {"mean": curves, "pictures": {"a.png": curves}, "words": ["one  two", "{\n}"]}
    text = record.to_text(result)
    assert json.loads(text) == result
    assert sum(line.lstrip().startswith('{ "tokens"') for line in text.splitlines()) == 4 * len(LENGTHS)


def test_a_command_line_keeps_private_places_to_itself():
    shown = record.command("speed", ["/home/someone/photos", "--model", "../model", "-o", "/home/someone/a b.json"])
    assert shown == "python -m benchmarks.speed photos --model ../model -o 'a b.json'"


def test_some_pictures_are_spread_over_all(tmp_path, picture):
    for i in range(10):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    pictures = Pictures(str(tmp_path), count=3)
    assert [sample.key for sample in pictures] == ["0.png", "3.png", "6.png"]
    assert pictures.facts()["pictures"] == 3
