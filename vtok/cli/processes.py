"""The processes of a command that `accelerate launch` started, or the one."""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from vtok.errors import MissingExtraError

_LONGEST_WAIT = timedelta(hours=12)  # for the slowest


@dataclass(frozen=True)
class Processes:
    """Which one this is, from 0, and of how many."""

    rank: int
    size: int
    _state: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the one that speaks."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait for all of them."""
        if self._state is not None:
            self._state.wait_for_everyone()


def open_processes(*, on_cpu: bool) -> Processes:
    """Join the processes that were launched together; one that was started alone needs no library.

    Args:
        on_cpu: they compute without a GPU.

    Raises:
        MissingExtraError: several, without `accelerate`.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Processes(0, 1)
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise MissingExtraError(f'several processes need a library that is not installed ({error}): pip install "vtok[train]"') from None
    state = PartialState(cpu=on_cpu, timeout=_LONGEST_WAIT)
    return Processes(state.process_index, state.num_processes, state)
