"""Where errors become lines and exit codes."""

import errno

import pytest

from vtok import recipes
from vtok.errors import VtokError


def failing(error: BaseException):
    def names() -> list[str]:
        raise error

    return names


def test_an_error_of_the_tree_is_one_line(vtok, monkeypatch):
    monkeypatch.setattr(recipes, "names", failing(VtokError("first\n  second")))
    result = vtok("recipes")
    assert result.code == 2
    assert result.line == "vtok: first second"


def test_a_bug_stays_a_traceback(vtok, monkeypatch):
    monkeypatch.setattr(recipes, "names", failing(KeyError("a bug")))
    with pytest.raises(KeyError):
        vtok("recipes")


def test_a_failure_of_the_machine_is_one_line(vtok, monkeypatch):
    monkeypatch.setattr(recipes, "names", failing(PermissionError(errno.EACCES, "Permission denied", "/secret")))
    result = vtok("recipes")
    assert result.code == 2
    assert result.line == "vtok: /secret: Permission denied"


def test_other_system_errors_stay_tracebacks(vtok, monkeypatch):
    monkeypatch.setattr(recipes, "names", failing(OSError(errno.EBADF, "Bad file descriptor")))
    with pytest.raises(OSError, match="Bad file descriptor"):
        vtok("recipes")


def test_an_interruption_leaves_quietly_with_130(vtok, monkeypatch):
    monkeypatch.setattr(recipes, "names", failing(KeyboardInterrupt()))
    result = vtok("recipes")
    assert (result.code, result.err) == (130, "")


@pytest.mark.parametrize("arguments", [("encode", "{photo}", "-o", "y" * 300), ("encode", "{photo}", "-o", "x.vtok", "--model", "y" * 300)])
def test_a_name_that_is_too_long_is_one_line(vtok, photo, arguments):
    result = vtok(*(argument.format(photo=photo) for argument in arguments))
    assert result.code == 2
    assert "File name too long" in result.line


@pytest.mark.parametrize("arguments", [("", "-o", "x.vtok"), ("{photo}", "-o", "")])
def test_an_empty_name_is_not_the_folder_at_hand(vtok, photo, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    result = vtok("encode", *(argument.format(photo=photo) for argument in arguments))
    assert result.code == 2
    assert "empty name" in result.line
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_names_and_captions_cannot_steer_the_terminal(vtok, photo, model, tmp_path):
    odd = tmp_path / "two\nlines\x1b[31m.png"
    odd.write_bytes(photo.read_bytes())
    tokens = tmp_path / "odd\x1b.vtok"
    told = vtok("encode", odd, "-o", tokens, "--caption", "red\x1b[31m", "--model", model)
    assert told.line.startswith(f"{tmp_path / 'two?lines?[31m.png'} -> ")
    shown = vtok("info", tokens).out.decode()
    assert "\x1b" not in shown
    assert "red?[31m" in shown
