"""Where the time of a run goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Lap:
    """A stretch of training, pauses left out.

    Args:
        steps: done in it.
        seconds: above 0.
        wait_s: seconds of these spent waiting for samples.
    """

    steps: int
    seconds: float
    wait_s: float


class Clock:
    """Times the stretches between lines of the log.

    Args:
        done: steps done when it starts.
    """

    def __init__(self, done: int):
        self._done = done
        self._wait_s = 0.0
        self._start = time.perf_counter()
        self._paused_s = 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done inside does not count."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._paused_s += time.perf_counter() - start

    def lap(self, done: int, wait_s: float) -> Lap:
        """End a stretch.

        Args:
            done: steps done in all.
            wait_s: seconds waited in all.
        """
        now = time.perf_counter()
        lap = Lap(done - self._done, max(now - self._start - self._paused_s, 1e-9), wait_s - self._wait_s)
        self._done, self._wait_s, self._start, self._paused_s = done, wait_s, now, 0.0
        return lap
