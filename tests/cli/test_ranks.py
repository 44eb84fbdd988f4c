"""Which part of a work that several machines share is this process's."""

import pytest

from vtok.cli.ranks import rank_and_size
from vtok.errors import ConfigError


@pytest.mark.parametrize(
    ("rank", "size", "environment", "expected"),
    [
        (None, None, {}, (0, 1)),
        (2, 4, {"RANK": "1", "WORLD_SIZE": "2"}, (2, 4)),
        (None, None, {"RANK": "1", "WORLD_SIZE": "2"}, (1, 2)),
        (None, None, {"SLURM_PROCID": "3", "SLURM_NTASKS": "8"}, (3, 8)),
        (None, 5, {"JOB_COMPLETION_INDEX": "4"}, (4, 5)),
        (None, None, {"JOB_COMPLETION_INDEX": "4", "JOB_COMPLETIONS": "6"}, (4, 6)),
        (None, 1, {}, (0, 1)),
    ],
)
def test_what_is_told_wins_over_what_a_launcher_says(rank, size, environment, expected):
    assert rank_and_size(rank, size, environment) == expected


@pytest.mark.parametrize(
    ("rank", "size", "environment", "message"),
    [
        (1, None, {}, "give --world-size too"),
        (None, 2, {}, "give --rank too"),
        (2, 2, {}, "ranks are 0 to 1"),
        (None, None, {"JOB_COMPLETION_INDEX": "4"}, "a Kubernetes job says that this is process 4, but not of how many"),
        (None, None, {"RANK": "one", "WORLD_SIZE": "2"}, "RANK is 'one'"),
    ],
)
def test_half_a_share_is_refused(rank, size, environment, message):
    with pytest.raises(ConfigError, match=message):
        rank_and_size(rank, size, environment)
