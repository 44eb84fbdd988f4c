"""Which part of a work that several machines share is this process's, as told or as a launcher says."""

import os
from collections.abc import Mapping

from vtok.errors import ConfigError

_LAUNCHERS = {  # name: number of the process, number of processes
    "torchrun": ("RANK", "WORLD_SIZE"),
    "Slurm": ("SLURM_PROCID", "SLURM_NTASKS"),
    "a Kubernetes job": ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
}


def rank_and_size(rank: int | None, size: int | None, environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Number of this process, from 0, and how many there are.

    Args:
        rank, size: as told; what is None is read from the environment of torchrun, Slurm or an indexed Kubernetes job, in this order.
            Kubernetes tells no process how many there are: say it, or set JOB_COMPLETIONS in the job.
        environment: variables; those of the process when None.

    Raises:
        ConfigError: one of the two is known and the other is not, or the rank is not below the size.
    """
    variables = os.environ if environment is None else environment
    for launcher, (own, count) in _LAUNCHERS.items():
        if rank is None and own in variables:
            rank = _number(variables[own], own)
            if size is None and count not in variables:
                raise ConfigError(f"{launcher} says that this is process {rank}, but not of how many; give --world-size")
            size = _number(variables[count], count) if size is None else size
    if (rank is None) != (size is None) and size != 1:
        given, lacking = ("--rank", "--world-size") if size is None else ("--world-size", "--rank")
        raise ConfigError(f"{given} alone does not say which part of the work to do; give {lacking} too")
    rank, size = rank or 0, size or 1
    if not 0 <= rank < size:
        raise ConfigError(f"rank {rank} of {size} processes; ranks are 0 to {size - 1}")
    return rank, size


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"the variable {name} is {text!r}, expected a whole number") from None
