"""What is done to each chunk of pictures, by one process or several, and kept."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from vtok.eval.run.picture_set import PictureSet
from vtok.eval.run.prepared import Pictures


class Job(Protocol):
    """Work on chunks whose results stay on the disk."""

    def missing(self, start: int) -> bool:
        """Whether the chunk that begins there is still to be done."""

    def work(self, pictures: Pictures) -> None:
        """Do a chunk and keep what came out."""


def do(jobs: Sequence[Job], pictures: PictureSet, advance: Callable[[int], Any], *, rank: int = 0, world_size: int = 1) -> None:
    """Do this process's share of all chunks: every `world_size`-th. What was done before is not done again.

    Args:
        advance: is told how many pictures of this process are done.
    """
    own = pictures.starts[rank::world_size]
    left = [start for start in own if any(job.missing(start) for job in jobs)]
    done = sum(min(pictures.chunk, len(pictures) - start) for start in own) - sum(min(pictures.chunk, len(pictures) - s) for s in left)
    advance(done)
    for chunk in pictures.read(left):
        for job in jobs:
            if job.missing(chunk.start):
                job.work(chunk)
        done += min(pictures.chunk, len(pictures) - chunk.start)
        advance(done)
