"""Stopping a run from outside: the step is finished first."""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(Exception):
    """A run was asked to stop and did, after a checkpoint; the message says how to go on."""


class StopRequest:
    """Whether a signal asked to stop."""

    asked = False


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Let the first interrupt or termination signal only be noted; the next one acts as usual."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield request
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what handlers are given
        request.asked = True
        _restore(before)

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield request
    finally:
        _restore(before)


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
