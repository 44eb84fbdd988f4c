"""The shards of a data set made by the tasks of a Ray cluster, which all see the same folders."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from vtok.errors import MissingExtraError, VtokError
from vtok.generate.tokenize.work import Done, TokenizeJob
from vtok.tokenizers.base import Tokenizer
from vtok.weights.load import load_tokenizer


def run_on_ray(job: TokenizeJob, numbers: Sequence[int], device: str) -> Iterator[Done]:
    """`TokenizeJob.run`, a task for each shard; shards come as they are finished.

    A cluster that the process is joined to is used, or that at `RAY_ADDRESS`, or else one on this machine.

    Args:
        device: where each task computes; on "cuda" it takes a GPU.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError, DataError, OutputError: as `TokenizeJob.run`; the first that a task meets.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtraError('--engine ray needs Ray; install it with: pip install "vtok[ray]"') from None
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    there = {number: shard for number in numbers if (shard := job.found(number)) is not None}
    yield from there.values()
    task = ray.remote(num_gpus=int(device.startswith("cuda")), max_retries=3)(_made)
    shared = ray.put(job)
    waiting = [task.remote(shared, number, device) for number in numbers if number not in there]
    while waiting:
        (ready,), waiting = ray.wait(waiting, num_returns=1)
        try:
            done: Done = ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            for other in waiting:
                ray.cancel(other)
            raise error.cause if isinstance(error.cause, VtokError) else error from None
        yield done


def _made(job: TokenizeJob, number: int, device: str) -> Done:
    return job.make(number, _tokenizer(job.settings.tokenizer, device))


@lru_cache(maxsize=1)
def _tokenizer(name: str, device: str) -> Tokenizer:
    """One for all tasks of a process."""
    return load_tokenizer(name, device=device)
