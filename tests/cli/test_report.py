"""What is shown on a terminal."""

from pathlib import Path

import pytest
import typer

from tests.cli.terminal import as_terminal
from vtok.cli import report as report_module
from vtok.cli.jobs import Job
from vtok.cli.report import Report, json_line
from vtok.errors import PictureError


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


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the report believes have gone by."""
    seconds = [0.0]
    monkeypatch.setattr(report_module, "monotonic", lambda: seconds[0])
    return seconds


def test_a_file_that_takes_long_has_a_bar_of_its_share(monkeypatch, clock):
    terminal = as_terminal(monkeypatch)
    with Report(1, several=False, as_json=False, quiet=False) as report:
        tell_share = report.watch()
        clock[0] = 1.9
        tell_share(0.25)
        assert terminal.getvalue() == ""
        clock[0] = 2.1
        tell_share(0.5)
    assert " 50%" in terminal.getvalue()


@pytest.mark.parametrize("options", [{"as_json": True, "quiet": False}, {"as_json": False, "quiet": True}])
def test_a_long_wait_is_not_shown_beside_json_nor_where_quiet_is_asked_for(monkeypatch, clock, options):
    terminal = as_terminal(monkeypatch)
    with Report(1, several=False, **options) as report:
        tell_share = report.watch()
        clock[0] = 9.0
        tell_share(0.5)
    assert terminal.getvalue() == ""


def test_a_long_wait_is_not_shown_without_a_terminal(capsys, clock):
    with Report(1, several=False, as_json=False, quiet=False) as report:
        tell_share = report.watch()
        clock[0] = 9.0
        tell_share(0.5)
    assert capsys.readouterr().err == ""


def test_the_share_of_a_file_moves_the_bar_of_several(monkeypatch):
    as_terminal(monkeypatch)
    with Report(4, several=True, as_json=False, quiet=False) as report:
        report.watch()(0.5)
        report.done({}, "a.vtok -> a.png")
        report.watch()(0.25)
        (task,) = report._bar.tasks
        assert task.completed == 1.25


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
