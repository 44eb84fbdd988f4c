"""What a whole process costs: seconds on the clock, seconds of the processor, peak memory."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


@dataclass(frozen=True)
class Cost:
    """Of one process, from its start to its end.

    A system may count the memory of the process that started it as the child's own, so `peak_rss_mb` is at least `own_peak_rss_mb()`.
    """

    seconds: float
    cpu_seconds: float
    peak_rss_mb: float


def run(command: Sequence[str]) -> Cost:
    """Run a command, its standard output thrown away.

    Raises:
        RuntimeError: it failed.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {' '.join(command)}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _MAXRSS_UNIT / 1e6)


def own_peak_rss_mb() -> float:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT / 1e6


def summary(costs: Sequence[Cost]) -> dict[str, Any]:
    """Median, least and most seconds of the runs, median seconds of the processor, the highest peak."""
    return spread([cost.seconds for cost in costs]) | {
        "cpu_seconds": round(median(cost.cpu_seconds for cost in costs), 3),
        "peak_rss_mb": round(max(cost.peak_rss_mb for cost in costs)),
    }


def spread(seconds: Sequence[float]) -> dict[str, Any]:
    """Median, least and most of some runs' seconds, and how many there were."""
    return {"seconds": round(median(seconds), 3), "min": round(min(seconds), 3), "max": round(max(seconds), 3), "runs": len(seconds)}
