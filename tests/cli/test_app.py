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
