"""What is shown on a terminal."""

import io
import sys
from pathlib import Path

import pytest
import typer

from vtok.cli.jobs import Job
from vtok.cli.report import Report, json_line
from vtok.errors import PictureError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def as_terminal(monkeypatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_a_terminal_sees_progress_lines_and_failures(monkeypatch):
    terminal = as_terminal(monkeypatch)
    job = Job(Path("b.png"), Path("b.vtok"))
    with Report(2, several=True, as_json=False, quiet=False) as report:
        report.done({}, "a.png -> a.vtok: [bold] 1 x 1 pixels")
        report.failed(job, PictureError("b.png: not a picture"))
        with pytest.raises(typer.Exit) as stop:
            report.finish()
    shown = terminal.getvalue()
    assert stop.value.exit_code == 3
    assert "2/2" in shown
    assert "a.png -> a.vtok: [bold] 1 x 1 pixels\n" in shown
    assert shown.endswith("vtok: 1 of 2 files failed:\n  b.png: not a picture\n")


def test_quiet_shows_no_bar(monkeypatch):
    terminal = as_terminal(monkeypatch)
    with Report(2, several=True, as_json=False, quiet=True) as report:
        report.done({}, "a.png -> a.vtok")
        report.finish()
    assert terminal.getvalue() == ""


def test_one_failure_of_one_file_ends_the_command():
    with pytest.raises(PictureError, match="not a picture"), Report(1, several=False, as_json=False, quiet=False) as report:
        report.failed(Job(Path("b.png"), None), PictureError("b.png: not a picture"))


def test_a_failure_that_does_not_name_its_file_is_listed_under_it(capsys):
    with Report(2, several=True, as_json=False, quiet=True) as report:
        report.failed(Job(Path("b.png"), None), PictureError("too small"))
        with pytest.raises(typer.Exit):
            report.finish()
    assert capsys.readouterr().err.endswith("  b.png: too small\n")


def test_numbers_that_json_lacks_are_null():
    record = {"psnr": float("inf"), "rows": ({"lpips": float("nan")}, {"lpips": 0.5})}
    assert json_line(record) == '{"psnr": null, "rows": [{"lpips": null}, {"lpips": 0.5}]}'
