"""What a command says while it works and when it is done: progress, a line or a JSON object for each file, the failures."""

import json
import math
import sys
from collections.abc import Callable, Mapping
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from vtok.cli.jobs import Job
from vtok.cli.pipes import say, tell
from vtok.errors import VtokError

if TYPE_CHECKING:
    from rich.progress import Progress

SOME_FAILED = 3
PATIENCE_S = 2.0  # what a single file may take without a bar
LINE_S = 30.0  # between two lines of one that takes long, where there is no bar


def json_line(record: Mapping[str, Any]) -> str:
    """One JSON object on one line; infinite and undefined numbers become null."""
    return json.dumps(_finite(record))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Report:
    """Progress bar and lines on standard error, JSON objects on standard output.

    Args:
        total: number of files.
        several: whether failures are collected; otherwise the first one ends the command.
        as_json: one object a file in place of the lines.
        quiet: neither bar nor lines; warnings and failures are still shown.
    """

    def __init__(self, total: int, *, several: bool, as_json: bool, quiet: bool):
        self._total = total
        self._several = several
        self._as_json = as_json
        self._quiet = quiet
        self._failures: list[tuple[str, str]] = []
        self._finished = 0  # files, good or failed
        self._bar: Progress | None = None

    def __enter__(self) -> "Report":
        if self._total > 1:
            self._start_bar()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop_bar()

    def watch(self) -> Callable[[float], None]:
        """What is to be told the share, 0 to 1, of the file that begins now: it moves the bar. A single file has one after `PATIENCE_S`.

        Where standard error is no terminal, a line says every `LINE_S` how far a single file is.
        """
        begun = said = monotonic()

        def tell_share(share: float) -> None:
            nonlocal said
            now = monotonic()
            if self._bar is None and not self._as_json and now - begun >= PATIENCE_S:
                self._start_bar()
            self._move_bar(self._finished + share)
            if self._bar is None and self._total == 1 and not self._quiet and 0 < share < 1 and now - said >= LINE_S:
                said = now
                tell(f"vtok: {share:.0%} done, {_clock((now - begun) / share * (1 - share))} left")

        return tell_share

    def done(self, record: Mapping[str, Any], line: str) -> None:
        """One file is finished: the record as JSON, or the line."""
        if self._as_json:
            say(json_line(record))
        elif not self._quiet:
            self._line(line)
        self._advance()

    def warn(self, line: str) -> None:
        """Something about a file that its user should know."""
        self._line(f"vtok: {line}")

    def failed(self, job: Job, error: VtokError) -> None:
        """One file failed; raises the error again where it was the only one."""
        if not self._several:
            raise error
        message = " ".join(str(error).split())
        self._failures.append((job.name, message))
        if self._as_json:
            say(json_line({"file": job.name, "error": message}))
        self._advance()

    def finish(self) -> None:
        """List the failures and leave with exit code 3, if there were any."""
        self._stop_bar()
        if not self._failures:
            return
        tell(f"vtok: {len(self._failures)} of {self._total} files failed:")
        for name, message in self._failures:
            tell(f"  {message if name in message else f'{name}: {message}'}")
        raise typer.Exit(SOME_FAILED)

    def _line(self, line: str) -> None:
        if self._bar is None:
            tell(line)
        else:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _advance(self) -> None:
        self._finished += 1
        self._move_bar(self._finished)

    def _start_bar(self) -> None:
        if not self._quiet and sys.stderr is not None and sys.stderr.isatty():
            self._bar = _bar(self._total)
            self._bar.start()

    def _move_bar(self, files: float) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=files)

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _bar(total: int) -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    count = MofNCompleteColumn() if total > 1 else TaskProgressColumn()
    bar = Progress(BarColumn(), count, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    bar.add_task("", total=total)
    return bar
