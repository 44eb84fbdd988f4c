"""How far a run is: a bar on a terminal, lines of the log elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

log = logging.getLogger(__name__)

BAR_S, LINE_S = 0.5, 10.0  # seconds between two looks of the bar, two lines


class Progress(Protocol):
    """What a run tells about its way."""

    def step(self, done: int) -> None:
        """So many steps are done."""

    def figures(self, done: int, losses: dict[str, float], images_per_s: float) -> None:
        """The sum of each group's losses and the speed since the last figures."""


@contextmanager
def open_progress(num_steps: int, done: int, *, moving: bool, silent: bool = False) -> Iterator[Progress]:
    """Show the way from `done` steps to `num_steps`.

    Args:
        moving: a bar, where standard error is a terminal.
        silent: nothing at all.
    """
    if silent:
        yield _Nothing()
    elif moving and sys.stderr.isatty():
        with _bar(num_steps, done) as bar:
            yield bar
    else:
        yield _Lines(num_steps, done)


class _Bar:
    def __init__(self, bar: object, task: object):
        self._bar: object = bar
        self._task = task
        self._shown = 0.0

    def step(self, done: int) -> None:
        if time.monotonic() - self._shown >= BAR_S:
            self._shown = time.monotonic()
            self._bar.update(self._task, completed=done)  # type: ignore[attr-defined]

    def figures(self, done: int, losses: dict[str, float], images_per_s: float) -> None:
        self._bar.update(self._task, completed=done, figures=_text(losses, images_per_s))  # type: ignore[attr-defined]


@contextmanager
def _bar(num_steps: int, done: int) -> Iterator[_Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[figures]}"))
    with RichProgress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=2) as bar:
        yield _Bar(bar, bar.add_task("", total=num_steps, completed=done, figures=""))


class _Nothing:
    def step(self, done: int) -> None:
        """Not told."""

    def figures(self, done: int, losses: dict[str, float], images_per_s: float) -> None:
        """Not told."""


class _Lines:
    def __init__(self, num_steps: int, done: int):
        self._num_steps = num_steps
        self._first = done
        self._started = time.monotonic()
        self._shown = float("-inf")

    def step(self, done: int) -> None:
        """Lines come with figures alone."""

    def figures(self, done: int, losses: dict[str, float], images_per_s: float) -> None:
        now = time.monotonic()
        if now - self._shown < LINE_S and done < self._num_steps:
            return
        self._shown = now
        left = (now - self._started) / max(1, done - self._first) * (self._num_steps - done)
        log.info("step %d of %d, %s left, %s", done, self._num_steps, _clock(left), _text(losses, images_per_s))


def _text(losses: dict[str, float], images_per_s: float) -> str:
    shown = (f"{name} {value:.4g}" for name, value in losses.items())
    return ", ".join([f"{images_per_s:.3g} images/s", *shown])


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
