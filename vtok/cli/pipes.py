"""Standard input and output, for bytes and for lines, with one line for what can go wrong there."""

import contextlib
import os
import sys
from typing import Final

import typer

from vtok.errors import DataError, OutputError

PIPE: Final = "-"
BROKEN_PIPE = 141  # what a program gets that the closed pipe's signal ends


def read_stdin() -> bytes:
    """All bytes of standard input.

    Raises:
        DataError: it is closed, a terminal, or cannot be read.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise DataError("'-' reads standard input, but nothing is piped into it")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise DataError(f"cannot read standard input: {error.strerror or error}") from None


def write_stdout(data: bytes) -> None:
    """Write bytes of a file to standard output.

    Raises:
        OutputError: it is closed, a terminal, or cannot be written.
    """
    if sys.stdout is not None and sys.stdout.isatty():
        raise OutputError("standard output is a terminal; name a file with -o, or pipe or redirect the bytes")
    _write(data)


def say(text: str) -> None:
    """Write a line of results to standard output."""
    _write(f"{text}\n".encode(sys.stdout.encoding if sys.stdout else "utf-8", "backslashreplace"))


def tell(text: str) -> None:
    """Write a line of news about the work, not of its result, to standard error; one that nobody can read is dropped."""
    from vtok.data.files import shown_name

    with contextlib.suppress(OSError):
        typer.echo(shown_name(text), err=True)


def silence_stdout() -> None:
    """Let what is still buffered go nowhere, so that leaving the program does not try, and complain, once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(data: bytes) -> None:
    if sys.stdout is None:
        raise OutputError("standard output is closed; name a file with -o")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # who was reading has had enough: no error
        silence_stdout()
        raise typer.Exit(BROKEN_PIPE) from None
    except OSError as error:
        silence_stdout()
        raise OutputError(f"cannot write to standard output: {error.strerror or error}") from None
