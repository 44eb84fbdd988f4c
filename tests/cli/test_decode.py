"""`vtok decode`: prefixes, cut files, models, pipes, files that are no such files."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.samples import files_under
from tests.cli.terminal import as_terminal
from vtok.cli import report
from vtok.codec.container import read, write


def picture(path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_the_picture_has_its_own_size_again(vtok, encoded, model, tmp_path):
    result = vtok("decode", encoded, "-o", tmp_path / "out.png", "--model", model)
    assert result.code == 0
    assert result.line.startswith(f"{encoded} -> {tmp_path / 'out.png'}: 50 x 35 pixels, 8 tokens a tile in 12 tiles, ")
    assert picture(tmp_path / "out.png").shape == (35, 50, 3)


def test_fewer_tokens_give_what_a_truncated_file_gives(vtok, encoded, model, tmp_path):
    vtok("decode", encoded, "-o", tmp_path / "prefix.png", "--tokens", 3, "--model", model)
    vtok("truncate", encoded, "-o", tmp_path / "short.vtok", "--tokens", 3)
    vtok("decode", tmp_path / "short.vtok", "-o", tmp_path / "short.png", "--model", model)
    vtok("decode", encoded, "-o", tmp_path / "full.png", "--model", model)
    assert (picture(tmp_path / "prefix.png") == picture(tmp_path / "short.png")).all()
    assert (picture(tmp_path / "prefix.png") != picture(tmp_path / "full.png")).any()


def test_a_folder_keeps_stems(vtok, album, model, tmp_path):
    vtok("encode", album, "-o", tmp_path / "tokens", "--model", model)
    result = vtok("decode", tmp_path / "tokens", "-o", tmp_path / "out", "--model", model, "--json")
    assert result.code == 0
    assert files_under(tmp_path / "out") == ["a.png", "b.png", "deeper/c.png"]
    assert [(record["width"], record["height"]) for record in result.records] == [(20, 20), (20, 20), (17, 33)]


def test_a_cut_file_is_decoded_and_said_so(vtok, encoded, model, tmp_path):
    cut = tmp_path / "cut.vtok"
    cut.write_bytes(encoded.read_bytes()[:-20])
    result = vtok("decode", cut, "-o", tmp_path / "out.png", "--model", model, "--quiet")
    assert result.code == 0
    assert result.line.startswith(f"vtok: {cut}: the file is cut; ")
    assert picture(tmp_path / "out.png").shape == (35, 50, 3)


def test_pipes_carry_a_png(vtok, encoded, model, tmp_path):
    result = vtok("decode", "-", "-o", "-", "--model", model, stdin=encoded.read_bytes())
    vtok("decode", encoded, "-o", tmp_path / "out.png", "--model", model)
    assert (picture(io.BytesIO(result.out)) == picture(tmp_path / "out.png")).all()


def test_a_picture_whose_name_was_not_given_is_never_replaced(vtok, photo, encoded, model):
    before = photo.read_bytes()
    result = vtok("decode", encoded, "--model", model)
    assert result.code == 2
    assert result.line == f"vtok: {photo}: exists already; name the output with -o"
    assert photo.read_bytes() == before


def test_without_an_output_the_picture_lies_beside_the_file(vtok, photo, encoded, model):
    photo.unlink()
    assert vtok("decode", encoded, "--model", model).code == 0
    assert picture(photo).shape == (35, 50, 3)


def test_another_kind_of_picture_is_written_by_its_extension(vtok, encoded, model, tmp_path):
    vtok("decode", encoded, "-o", tmp_path / "out.jpg", "--model", model)
    assert Image.open(tmp_path / "out.jpg").format == "JPEG"


class TestOptionsOfFlowDecoders:
    @pytest.fixture
    def decode(self, vtok, photo, flow_model, tmp_path):
        """Decode the photograph with options to `NAME.png`."""
        tokens = tmp_path / "flow.vtok"
        assert vtok("encode", photo, "-o", tokens, "--model", flow_model).code == 0

        def run(name, *options):
            path = tmp_path / f"{name}.png"
            return vtok("decode", tokens, "-o", path, "--model", flow_model, *options), path

        return run

    def test_a_seed_is_a_picture(self, decode):
        (_, first), (_, again), (_, other) = decode("first", "--seed", 7), decode("again", "--seed", 7), decode("other", "--seed", 8)
        assert first.read_bytes() == again.read_bytes()
        assert (picture(first) != picture(other)).any()

    def test_no_seed_is_seed_0(self, decode):
        (_, without), (_, zero) = decode("without"), decode("zero", "--seed", 0)
        assert without.read_bytes() == zero.read_bytes()

    @pytest.mark.parametrize("options", [("--steps", 5), ("--solver", "heun"), ("--guidance", 1), ("--guidance-rule", "cfg")])
    def test_each_option_changes_the_picture(self, decode, options):
        (_, plain), (_, changed) = decode("plain", "--steps", 3), decode("changed", "--steps", 3, *options)
        assert (picture(plain) != picture(changed)).any()

    def test_json_has_the_options_that_were_given(self, decode):
        result, _ = decode("out", "--steps", 3, "--guidance-rule", "cfg", "--json")
        (record,) = result.records
        given = {name: record[name] for name in ("steps", "solver", "guidance", "guidance_rule", "seed") if name in record}
        assert given == {"steps": 3, "guidance_rule": "cfg"}

    def test_they_hold_for_all_files(self, vtok, album, flow_model, tmp_path):
        vtok("encode", album, "-o", tmp_path / "tokens", "--model", flow_model)
        result = vtok("decode", tmp_path / "tokens", "-o", tmp_path / "out", "--model", flow_model, "--seed", 3, "--json")
        assert [record["seed"] for record in result.records] == [3, 3, 3]

    @pytest.mark.parametrize(
        ("option", "value", "words"),
        [
            ("--steps", 0, "--steps must be a whole number from 1 to 10000, got 0"),
            ("--guidance", "nan", "--guidance must be a finite number of at least 0, got nan"),
            ("--guidance-rule", "no_rule", "--guidance-rule must be cfg or apg, got 'no_rule'"),
            ("--seed", -1, "--seed must be a whole number from 0 to below 2**63, got -1"),
            ("--solver", "nope", "no solver 'nope'; there are: euler, heun"),
        ],
    )
    def test_a_bad_value_is_one_line(self, decode, option, value, words):
        result, path = decode("out", option, value)
        assert (result.code, result.line) == (2, f"vtok: {words}")
        assert not path.exists()

    def test_a_model_that_lacks_them_is_one_line(self, vtok, encoded, model, tmp_path):
        result = vtok("decode", encoded, "-o", tmp_path / "out.png", "--model", model, "--steps", 3, "--seed", 1)
        assert (result.code, result.line) == (2, "vtok: linear has no option seed, steps; it has none")
        assert not (tmp_path / "out.png").exists()

    def test_a_long_decode_shows_how_far_it_is(self, decode, monkeypatch):
        monkeypatch.setattr(report, "PATIENCE_S", 0)
        terminal = as_terminal(monkeypatch)
        decode("out", "--steps", 4)
        assert "100%" in terminal.getvalue()


class TestWhatIsRefused:
    def test_more_tokens_than_the_file_has(self, vtok, encoded, model, tmp_path):
        result = vtok("decode", encoded, "-o", tmp_path / "out.png", "--tokens", 300, "--model", model)
        assert result.code == 2
        assert "300" in result.line
        assert not (tmp_path / "out.png").exists()

    def test_other_weights(self, vtok, encoded, other_model, tmp_path):
        result = vtok("decode", encoded, "-o", tmp_path / "out.png", "--model", other_model)
        assert result.code == 2
        assert read(encoded).digest.hex() in result.line
        assert "--model" in result.line

    def test_weights_that_nobody_knows(self, vtok, encoded, tmp_path):
        result = vtok("decode", encoded, "-o", tmp_path / "out.png")
        assert result.code == 2
        assert read(encoded).digest.hex() in result.line
        assert "--model" in result.line

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda data: b"GIF89a" + data[6:], "not a .vtok file"),
            (lambda data: data[:3] + b"\x03" + data[4:], "version 3"),
            (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "checksum"),
            (lambda data: data[:5] + bytes([data[5] ^ 16]) + data[6:], "checksum"),
            (lambda data: data[:12], "cut"),
            (lambda data: data[:-47], "cut too early"),
            (lambda data: data + b"\0", "damaged"),
            (lambda _: b"", "not a .vtok file"),
        ],
        ids=["magic", "newer version", "flipped bit", "flipped header bit", "cut header", "cut first layer", "longer", "empty"],
    )
    def test_bytes_that_are_no_such_file(self, vtok, encoded, model, tmp_path, change, words):
        bad = tmp_path / "bad.vtok"
        bad.write_bytes(change(encoded.read_bytes()))
        result = vtok("decode", bad, "-o", tmp_path / "out.png", "--model", model)
        assert result.code == 2
        assert str(bad) in result.line
        assert words in result.line
        assert not (tmp_path / "out.png").exists()

    def test_some_files_of_a_folder(self, vtok, encoded, model, other_model, photo, tmp_path):
        folder = tmp_path / "mixed"
        folder.mkdir()
        write(folder / "good.vtok", read(encoded))
        (folder / "damaged.vtok").write_bytes(encoded.read_bytes()[:-1] + b"?")
        vtok("encode", photo, "-o", folder / "foreign.vtok", "--model", other_model)
        result = vtok("decode", folder, "-o", tmp_path / "out", "--model", model, "--json")
        assert result.code == 3
        assert [("error" in record, record["file"]) for record in result.records] == [
            (True, str(folder / "damaged.vtok")),
            (True, str(folder / "foreign.vtok")),
            (False, str(folder / "good.vtok")),
        ]
        first, *rest = result.err.splitlines()
        assert first == "vtok: 2 of 3 files failed:"
        assert [line.split(":")[0].strip() for line in rest] == [str(folder / name) for name in ("damaged.vtok", "foreign.vtok")]
        assert files_under(tmp_path / "out") == ["good.png"]

    def test_a_file_that_may_not_be_read(self, vtok, encoded, model, tmp_path, monkeypatch):
        def refused(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refused)
        result = vtok("decode", encoded, "-o", tmp_path / "out.png", "--model", model)
        assert result.code == 2
        assert result.line == f"vtok: {encoded}: cannot be read: Permission denied"

    def test_an_extension_that_is_no_picture(self, vtok, encoded, model, tmp_path):
        result = vtok("decode", encoded, "-o", tmp_path / "out.txt", "--model", model)
        assert result.code == 2
        assert ".txt" in result.line

    def test_a_model_folder_without_weights(self, vtok, encoded, tmp_path):
        (tmp_path / "empty").mkdir()
        result = vtok("decode", encoded, "-o", tmp_path / "out.png", "--model", tmp_path / "empty")
        assert result.code == 2
        assert "config.json" in result.line


def test_a_name_that_is_no_pictures_is_refused_before_the_work(vtok, encoded, tmp_path):
    result = vtok("decode", encoded, "-o", tmp_path / "out.gif", "--model", tmp_path / "no model")
    assert result.code == 2
    assert "not '.gif'" in result.line


def test_a_cut_file_says_what_is_left_whatever_is_decoded(vtok, encoded, model, tmp_path):
    cut = tmp_path / "cut.vtok"
    cut.write_bytes(encoded.read_bytes()[:-20])
    result = vtok("decode", cut, "-o", tmp_path / "out.png", "--model", model, "--quiet", "--tokens", 1)
    assert result.line.endswith("tokens a tile are left of it")


def test_photographs_beside_their_files_are_not_replaced_through_the_folders_name(vtok, album, model):
    before = (album / "a.png").read_bytes()
    vtok("encode", album, "-o", album, "--model", model)
    result = vtok("decode", album, "-o", album, "--model", model)
    assert result.code == 2
    assert result.line == f"vtok: {album / 'a.png'}: exists already; name the output with -o"
    assert (album / "a.png").read_bytes() == before
    assert vtok("decode", album / "a.vtok", "-o", album, "--model", model).code == 2
    assert vtok("decode", album / "a.vtok", "-o", album / "a.png", "--model", model).code == 0
