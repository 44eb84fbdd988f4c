"""`vtok compare`: the table, the picture, and LPIPS that is not there."""

import sys

import numpy as np
import pytest
from PIL import Image

from tests.cli.terminal import as_terminal
from vtok.cli import report
from vtok.eval.pairs.lpips import VARIABLE
from vtok.tokenizers.titok_vae import TitokVae


@pytest.fixture(autouse=True)
def no_weights_for_lpips(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_a_table_and_where_the_picture_is(vtok, photo, model, tmp_path):
    result = vtok("compare", photo, "-o", tmp_path / "sheet.png", "--model", model)
    assert result.code == 0
    first, head, *rows, last = result.out.decode().splitlines()
    assert first == f"{photo}: 50 x 35 pixels, 12 tiles"
    assert head.split() == ["tokens", "bytes", "bpp", "PSNR", "dB", "LPIPS"]
    assert [row.split()[0] for row in rows] == ["1", "2", "4", "8"]
    assert last == f"The original beside its prefixes: {tmp_path / 'sheet.png'}"
    assert np.asarray(Image.open(tmp_path / "sheet.png")).ndim == 3


def test_without_weights_a_line_says_how_to_get_lpips(vtok, photo, model, tmp_path):
    pytest.importorskip("lpips", reason="needs the extra `eval`")
    result = vtok("compare", photo, "-o", tmp_path / "sheet.png", "--model", model)
    assert result.line.startswith("vtok: no LPIPS: ")
    assert VARIABLE in result.line
    assert all(row.split()[-1] == "-" for row in result.out.decode().splitlines()[2:-1])


def test_without_the_package_a_line_says_what_to_install(vtok, photo, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    result = vtok("compare", photo, "-o", tmp_path / "sheet.png", "--model", model)
    assert 'pip install "vtok[eval]"' in result.line


def test_a_small_picture_has_no_lpips(vtok, model, tmp_path):
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "small.png")
    result = vtok("compare", tmp_path / "small.png", "-o", tmp_path / "sheet.png", "--model", model)
    assert result.code == 0
    assert "at least 31 x 31 pixels" in result.line


def test_lpips_is_measured_with_the_weights_given(vtok, photo, model, tmp_path, shared):
    pytest.importorskip("lpips", reason="needs the extra `eval`")
    weights = shared / "data" / "weights" / "lpips_alex.safetensors"
    result = vtok("compare", photo, "-o", tmp_path / "sheet.png", "--model", model, "--lpips-weights", weights, "--json")
    assert result.err == ""
    assert all(row["lpips"] > 0 for row in result.records[0]["rows"])


def test_json_has_a_row_for_each_length(vtok, photo, model, tmp_path):
    (record,) = vtok("compare", photo, "-o", tmp_path / "sheet.png", "--model", model, "--lengths", "2,7", "--json").records
    assert (record["width"], record["height"], record["tiles"]) == (50, 35, 12)
    assert [row["tokens"] for row in record["rows"]] == [2, 7]
    assert record["rows"][0]["bytes"] < record["rows"][1]["bytes"]


@pytest.mark.parametrize(
    ("option", "words"), [(("--lengths", "1,x"), "1,x"), (("--lengths", "99"), "99"), (("--lpips-weights", "no.pth"), "no.pth")]
)
def test_what_cannot_be_served_is_named_and_nothing_written(vtok, photo, model, tmp_path, option, words):
    result = vtok("compare", photo, "-o", tmp_path / "sheet.png", "--model", model, *option)
    assert result.code == 2
    assert words in result.err
    assert not (tmp_path / "sheet.png").exists()


def test_the_photograph_itself_is_not_replaced(vtok, photo, model):
    before = photo.read_bytes()
    result = vtok("compare", photo, "-o", photo, "--model", model)
    assert result.code == 2
    assert "would overwrite the input" in result.line
    assert photo.read_bytes() == before


def test_a_name_that_is_too_long_is_one_line(vtok, photo, model, tmp_path):
    result = vtok("compare", photo, "-o", tmp_path / f"{'x' * 300}.png", "--model", model)
    assert result.code == 2
    assert "File name too long" in result.line


@pytest.mark.parametrize("name", ["sheet.gif", "sheet", "-"])
def test_a_name_that_is_no_pictures_is_refused_before_the_work(vtok, photo, tmp_path, name):
    result = vtok("compare", photo, "-o", tmp_path / name if name != "-" else name, "--model", tmp_path / "no model")
    assert result.code == 2
    assert ".png" in result.line


def test_continuous_weights_have_neither_bytes_nor_bpp(vtok, photo, tmp_path):
    TitokVae.tiny().save_pretrained(tmp_path / "vae")
    result = vtok("compare", photo, "-o", tmp_path / "sheet.png", "--model", tmp_path / "vae")
    assert result.code == 0
    (row,) = result.out.decode().splitlines()[2:-1]
    assert row.split()[:3] == ["6", "-", "-"]
    (record,) = vtok("compare", photo, "-o", tmp_path / "sheet.png", "--model", tmp_path / "vae", "--json").records
    (figures,) = record["rows"]
    assert (figures["bytes"], figures["bpp"]) == (None, None)
    assert figures["psnr"] > 0


class TestOptionsOfFlowDecoders:
    @pytest.fixture
    def compare(self, vtok, photo, flow_model, tmp_path):
        """Compare the photograph with its prefixes on `NAME.png`."""

        def run(name, *options):
            path = tmp_path / f"{name}.png"
            return vtok("compare", photo, "-o", path, "--model", flow_model, *options), path

        return run

    def test_a_seed_is_a_sheet(self, compare):
        (_, first), (_, again), (_, other) = compare("first", "--seed", 7), compare("again", "--seed", 7), compare("other", "--seed", 8)
        assert first.read_bytes() == again.read_bytes()
        assert (np.asarray(Image.open(first)) != np.asarray(Image.open(other))).any()

    def test_json_has_the_options_that_were_given(self, compare):
        result, _ = compare("sheet", "--steps", 20, "--solver", "heun", "--guidance", 1.5, "--lengths", "2", "--json")
        (record,) = result.records
        given = {name: record[name] for name in ("steps", "solver", "guidance", "guidance_rule", "seed") if name in record}
        assert given == {"steps": 20, "solver": "heun", "guidance": 1.5}

    @pytest.mark.parametrize(
        ("option", "value", "words"),
        [
            ("--steps", 0, "--steps must be a whole number from 1 to 10000, got 0"),
            ("--solver", "nope", "no solver 'nope'; there are: euler, heun"),
        ],
    )
    def test_a_bad_value_is_one_line(self, compare, option, value, words):
        result, path = compare("sheet", option, value)
        assert (result.code, result.line) == (2, f"vtok: {words}")
        assert not path.exists()

    def test_a_model_that_lacks_them_is_one_line(self, vtok, photo, model, tmp_path):
        result = vtok("compare", photo, "-o", tmp_path / "sheet.png", "--model", model, "--guidance", 2)
        assert (result.code, result.line) == (2, "vtok: linear has no option guidance; it has none")
        assert not (tmp_path / "sheet.png").exists()

    def test_a_long_comparison_shows_how_far_it_is(self, compare, monkeypatch):
        monkeypatch.setattr(report, "PATIENCE_S", 0)
        terminal = as_terminal(monkeypatch)
        compare("sheet", "--lengths", "1,6")
        assert "100%" in terminal.getvalue()
