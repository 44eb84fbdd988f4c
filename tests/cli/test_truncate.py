"""`vtok truncate`: shorter files without a model."""

import pytest

from vtok.codec.container import TokenFile, read


def test_tokens_cap_every_tile(vtok, encoded, tmp_path):
    out = tmp_path / "short.vtok"
    result = vtok("truncate", encoded, "-o", out, "--tokens", 3)
    assert result.code == 0
    assert result.line == f"{encoded} -> {out}: 3 tokens a tile, {out.stat().st_size} bytes"
    assert (read(out).ids == read(encoded).ids[:, :3]).all()


def test_bytes_cap_the_file(vtok, encoded, tmp_path):
    out = tmp_path / "short.vtok"
    assert vtok("truncate", encoded, "-o", out, "--bytes", 50, "--quiet").err == ""
    assert out.stat().st_size <= 50


def test_pipes_carry_the_file(vtok, encoded):
    result = vtok("truncate", "-", "-o", "-", "--tokens", 1, "-q", stdin=encoded.read_bytes())
    assert TokenFile.from_bytes(result.out).lengths.max() == 1


@pytest.mark.parametrize("options", [(), ("--tokens", 1, "--bytes", 50)])
def test_one_limit_is_needed(vtok, encoded, options, tmp_path):
    result = vtok("truncate", encoded, "-o", tmp_path / "x.vtok", *options)
    assert result.code == 2
    assert "one of --tokens and --bytes" in result.err


@pytest.mark.parametrize("options", [("--tokens", 300), ("--bytes", 5)])
def test_a_limit_that_cannot_be_met_leaves_nothing_behind(vtok, encoded, options, tmp_path):
    result = vtok("truncate", encoded, "-o", tmp_path / "x.vtok", *options)
    assert result.code == 2
    assert str(options[1]) in result.line
    assert not (tmp_path / "x.vtok").exists()


def test_a_missing_folder_is_named(vtok, encoded, tmp_path):
    result = vtok("truncate", encoded, "-o", tmp_path / "none" / "x.vtok", "--tokens", 1)
    assert result.code == 2
    assert "does not exist; create it first" in result.line
