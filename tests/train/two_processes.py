"""Training in two processes of one thread each on the processor; gloo carries the gradients."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import CHECKOUT
from tests.train.toy import tensors


def launch(*command: str) -> None:
    """Run a module with its arguments in two processes, to the end."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run([*launcher, "-m", *command], cwd=CHECKOUT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def train_in_two(recipe: str | Path, folder: Path, steps: int, sets: Sequence[str] = ()) -> None:
    """`vtok train` of so many steps, and a look that there were two."""
    options = [part for setting in sets for part in ("--set", setting)]
    launch("vtok", "train", str(recipe), "-o", str(folder), "--quiet", *options)
    assert "random.1." in "".join(tensors(folder, steps))
