"""What a run tells about its way."""

import io
import logging
import sys

import pytest

from vtok.train.engine import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when told so."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def lines(caplog):
    return [record.getMessage() for record in caplog.records]


def test_a_line_has_the_way_the_time_left_the_speed_and_the_losses(clock, caplog):
    with caplog.at_level(logging.INFO), progress.open_progress(500, 100, moving=False) as shown:
        clock[0] += 60
        shown.figures(120, {"tokenizer/pixels": 0.12341}, 40.0)
    assert lines(caplog) == ["step 120 of 500, 19:00 left, 40 images/s, tokenizer/pixels 0.1234"]


def test_lines_are_some_seconds_apart_but_the_last_is_told(clock, caplog):
    with caplog.at_level(logging.INFO), progress.open_progress(40, 0, moving=False) as shown:
        for done in range(1, 41):
            clock[0] += 1
            shown.step(done)
            shown.figures(done, {}, 1.0)
    assert [line.split(",")[0] for line in lines(caplog)] == [f"step {done} of 40" for done in (1, 11, 21, 31, 40)]


def test_a_bar_shows_on_a_terminal_and_is_gone_afterwards(monkeypatch, caplog):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with caplog.at_level(logging.INFO), progress.open_progress(10, 0, moving=True) as shown:
        for done in range(1, 11):
            shown.step(done)
        shown.figures(10, {"tokenizer/pixels": 0.5}, 12.0)
    assert "10/10" in terminal.getvalue()
    assert "tokenizer/pixels 0.5" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")  # the line is wiped
    assert lines(caplog) == []


def test_no_bar_where_standard_error_is_no_terminal(monkeypatch):
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with progress.open_progress(10, 0, moving=True) as shown:
        shown.step(1)
        shown.figures(1, {}, 1.0)
    assert pipe.getvalue() == ""
