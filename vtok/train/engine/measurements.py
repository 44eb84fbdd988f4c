"""Losses and gradient norms of steps, kept on the device until they are looked at, so that no step waits for them."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vtok.errors import TrainingError

Row = tuple[int, dict[str, float]]  # steps done, values by name


class Measurements:
    """What was measured since the last line of the log.

    Args:
        accelerator: of the `accelerate` library; values are means over its processes.
        rows: looked at before a run was cut off.
    """

    def __init__(self, accelerator: Any, rows: Sequence[Row] = ()):
        self._accelerator = accelerator
        self._seen: list[Row] = [(step, values) for step, values in rows]
        self._new: list[tuple[int, tuple[str, ...], Tensor]] = []

    def add(self, step: int, names: tuple[str, ...], values: Tensor) -> None:
        """Keep a step's values (len(names),) where they are."""
        self._new.append((step, names, values))

    def look(self, last_good: str) -> list[Row]:
        """All rows since `clear`, as numbers. Every process must look at the same steps.

        Args:
            last_good: what to go back to, for the message.

        Raises:
            TrainingError: a value that is no finite number; names the first step and the value.
        """
        if self._new:
            values = self._accelerator.reduce(torch.cat([values for _, _, values in self._new]), "mean").tolist()
            for step, names, _ in self._new:
                row, values = values[: len(names)], values[len(names) :]
                self._seen.append((step, dict(zip(names, row, strict=True))))
            self._new.clear()
            for step, row in self._seen:
                _check(step, row, last_good)
        return list(self._seen)

    @property
    def rows(self) -> Sequence[Row]:
        """Those already looked at since `clear`."""
        return self._seen

    def clear(self) -> None:
        """Begin a new line of the log."""
        self._seen.clear()


def means(rows: Sequence[Row]) -> dict[str, float]:
    """The mean of each value over the rows that have it."""
    sums: dict[str, list[float]] = {}
    for _, row in rows:
        for name, value in row.items():
            sums.setdefault(name, []).append(value)
    return {name: math.fsum(values) / len(values) for name, values in sums.items()}


def _check(step: int, row: dict[str, float], last_good: str) -> None:
    wrong = {name: value for name, value in row.items() if not math.isfinite(value)}
    if wrong:
        name, value = next(iter(wrong.items()))
        raise TrainingError(f"step {step}: {name} is {value}; {last_good}. Begin a new run with a lower learning rate, or in fp32")
