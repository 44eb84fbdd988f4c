"""The `accelerate` library's view of the machine: one process or several, which device, which trackers."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch

from vtok.errors import MissingExtraError, UnsupportedError
from vtok.train.engine.trackers import check_trackers

T = TypeVar("T")

SHARDED = ("FSDP", "DEEPSPEED", "MEGATRON_LM")  # accelerate's names
LONGEST_WAIT = timedelta(hours=12)  # of processes for one that prepares the start or measures


def open_accelerator(trackers: Sequence[str], logs: Path) -> Any:
    """An `accelerate.Accelerator`; precision and accumulation are the loop's own.

    Args:
        trackers: loggers by name.
        logs: where those that write files put them.

    Raises:
        ConfigError: no such logger.
        MissingExtraError: `accelerate` or a logger's library is not installed.
        UnsupportedError: the model is to be cut into shards.
    """
    try:
        from accelerate import Accelerator
        from accelerate.utils import InitProcessGroupKwargs, ProjectConfiguration
    except ImportError as error:
        raise MissingExtraError(f'training by gradient needs a missing library ({error}): pip install "vtok[train]"') from None
    check_trackers(trackers)
    accelerator = Accelerator(
        mixed_precision="no",
        log_with=list(trackers) or None,
        project_config=ProjectConfiguration(logging_dir=str(logs)),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
    )
    if accelerator.distributed_type in SHARDED:
        kind = accelerator.distributed_type
        raise UnsupportedError(
            f"{kind}: checkpoints of shards are not supported; launch with --multi_gpu, and deal a generator out by train.shard=true"
        )
    return accelerator


def data_parallel(*, find_unused_parameters: bool) -> Any:
    """How the module is wrapped for several processes.

    Buffers are not sent round: what changes them is the same in every process.
    """
    from accelerate import DistributedDataParallelKwargs

    return DistributedDataParallelKwargs(
        find_unused_parameters=find_unused_parameters, broadcast_buffers=False, gradient_as_bucket_view=True
    )


def from_first(accelerator: Any, make: Callable[[], T]) -> T:
    """What `make` returns in the first process, in all of them."""
    from accelerate.utils import broadcast_object_list

    made: list[T] = broadcast_object_list([make() if accelerator.is_main_process else None])
    return made[0]


def gather(own: T) -> list[T]:
    """What each process has, in the order of their ranks."""
    from accelerate.utils import gather_object

    return list(gather_object([own]))


def any_process(accelerator: Any, flags: tuple[bool, ...]) -> tuple[bool, ...]:
    """Which of the flags is set in any process."""
    if accelerator.num_processes == 1:
        return flags
    votes = accelerator.reduce(torch.tensor(flags, dtype=torch.float32, device=accelerator.device), "sum")
    return tuple(vote > 0 for vote in votes.tolist())
