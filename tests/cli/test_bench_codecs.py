"""`vtok bench-codecs`: files of the sizes wanted, figures of the product, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.samples import pixels
from vtok.data.pictures import read_picture
from vtok.eval.classical.codecs import TABLE
from vtok.eval.pairs.psnr import psnr
from vtok.eval.run.record_file import read_records

pytest.importorskip("scipy", reason="needs the extra `eval`")
CODECS = ("--codecs", "jpeg,webp")


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VTOK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pictures(tmp_path):
    """Three smooth pictures of 64 x 48 pixels with some noise."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    ramp = np.linspace(20, 220, 64)[None, :, None]
    for i in range(3):
        noise = np.random.default_rng(i).normal(0, 12, (48, 64, 3))
        Image.fromarray((ramp + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def test_figures_are_those_of_the_largest_files_that_fit(vtok, pictures):
    result = vtok("bench-codecs", pictures, *CODECS, "--bpp", "2,4", "-o", "codecs.json")
    assert result.code == 0
    jpeg, webp = read_records(Path("codecs.json"))
    assert [record["subject"]["name"] for record in (jpeg, webp)] == ["jpeg", "webp"]
    originals = [read_picture(pictures / f"{i}.png") for i in range(3)]
    for number, row in enumerate(jpeg["rows"]):
        budget = int(row["wanted_bpp"] * 48 * 64 / 8)
        files = [max((f for q in range(1, 96) if len(f := TABLE["jpeg"].encode(p, q)) <= budget), key=len) for p in originals]
        assert jpeg["pictures"]["bytes"][str(number)] == [len(file) for file in files]
        expected = [psnr(original, TABLE["jpeg"].decode(file)) for original, file in zip(originals, files, strict=True)]
        assert row["metrics"]["psnr"]["value"] == pytest.approx(np.mean(expected), abs=0.05)
        assert row["floor"] == 0


def test_curves_are_compared_by_bd_rate(vtok, pictures):
    vtok("bench-codecs", pictures, *CODECS, "--bpp", "2,3,4", "-o", "codecs.json")
    jpeg, webp = read_records(Path("codecs.json"))
    assert jpeg["bd_rate"]["metrics"]["psnr"]["percent"] == pytest.approx(0, abs=1e-9)
    assert webp["bd_rate"]["anchor"] == "jpeg"
    assert webp["bd_rate"]["metrics"]["psnr"]["percent"] < 0


def test_sizes_are_those_of_a_record_of_a_model(vtok, model, pictures):
    assert vtok("eval", model, pictures, "--size", "native", "--tokens", "4,8", "-o", "model.json").code == 0
    assert vtok("bench-codecs", pictures, *CODECS, "--like", "model.json", "-o", "codecs.json").code == 0
    (own,) = read_records(Path("model.json"))
    for record in read_records(Path("codecs.json")):
        assert [row["wanted_bpp"] for row in record["rows"]] == [row["bpp"] for row in own["rows"]]
        assert record["bd_rate"]["anchor"] == own["subject"]["name"]


def test_what_is_too_small_for_a_codec_is_counted(vtok, pictures):
    result = vtok("bench-codecs", pictures, *CODECS, "--bpp", "0.01,4", "--json")
    assert [record["rows"][0]["floor"] for record in result.records] == [3, 3]
    table = vtok("bench-codecs", pictures, *CODECS, "--bpp", "0.01,4").out.decode()
    assert "smallest of 3 of 3 pictures" in table


def test_pictures_that_cannot_be_read_are_named(vtok, pictures):
    (pictures / "1.png").write_bytes(b"x")
    result = vtok("bench-codecs", pictures, *CODECS, "--bpp", "4", "-o", "codecs.json")
    assert result.code == 3
    assert "1 of 3 pictures failed" in result.err
    assert json.loads(Path("codecs.json").read_text())["records"][0]["data"]["pictures"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--codecs", "gif"), "no codec 'gif'"),
        (("--bpp", "0"), "--bpp takes positive numbers"),
        (("--bpp", "x"), "--bpp takes positive numbers"),
        (("--metrics", "psrn"), "psnr"),
        (("--anchor", "avif"), "--anchor avif: not measured"),
        (("--like", "nothing.json"), "nothing.json"),
        (("-o", "codecs.txt"), ".json"),
    ],
)
def test_what_cannot_be_done_is_refused(vtok, pictures, options, message):
    result = vtok("bench-codecs", pictures, *CODECS, *options)
    assert result.code == 2
    assert message in result.err
    assert not Path("codecs.json").exists()


@pytest.mark.parametrize("change", [{"pictures": None}, {"pictures": {"keys": ["0.png"], "bytes": {"8": []}}}])
def test_a_record_without_the_sizes_of_its_pictures_is_refused(vtok, model, pictures, change):
    assert vtok("eval", model, pictures, "--size", "native", "--tokens", "all", "-o", "model.json").code == 0
    Path("model.json").write_text(json.dumps(json.loads(Path("model.json").read_text()) | change))
    assert "--like needs a whole record" in vtok("bench-codecs", pictures, *CODECS, "--like", "model.json").line


def test_a_record_of_other_pictures_is_refused(vtok, model, pictures, tmp_path):
    others = tmp_path / "others"
    others.mkdir()
    Image.fromarray(pixels(48, 64)).save(others / "other.png")
    assert vtok("eval", model, others, "--size", "native", "-o", "model.json").code == 0
    assert "0.png: not in the record" in vtok("bench-codecs", pictures, *CODECS, "--like", "model.json").line
