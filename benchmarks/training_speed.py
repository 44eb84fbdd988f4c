"""What does the training loop cost beside a bare one over the same objective and the same samples?

    python -m benchmarks.training_speed smoke -o results/training_speed.json

The bare loop has gradients, clipping, AdamW and the objective's own work after a step; the loop of the package has its averages, checks,
log, loggers, checkpoints and what else the recipe asks for. Both go on in turns of some steps in one process, so that a slow moment of the
machine meets both; where other work shares the machine, the processor's seconds say more than the clock.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from benchmarks.processes import spread
from benchmarks.record import head, report
from vtok.tokenizers.base import Tokenizer
from vtok.train.config import RunConfig, load_config
from vtok.train.engine.accelerator import open_accelerator
from vtok.train.engine.run_folder import RunFolder, resolve
from vtok.train.engine.training import Training
from vtok.train.loop import build, run
from vtok.train.objective import GradientObjective
from vtok.train.objectives import TABLE
from vtok.train.samples.batch import Batch
from vtok.train.samples.batches import Batches, open_batches


class BareLoop:
    """The least that trains.

    Args:
        config: of the run.
        start: model folder.
        device: where to train.
    """

    def __init__(self, config: RunConfig, start: Path, device: torch.device):
        self.config = config
        self.objective = cast(GradientObjective, build(config, TABLE))
        self.objective.begin(Tokenizer.from_pretrained(start), config.seed)
        cast(nn.Module, self.objective).to(device)
        self.unused_average = copy.deepcopy(self.objective.model).requires_grad_(False)
        self.optimizers = [
            torch.optim.AdamW(
                group.parameters,
                lr=group.optimizer.learning_rate,
                betas=group.optimizer.betas,
                weight_decay=group.optimizer.weight_decay,
                fused=True,
            )
            for group in self.objective.groups
        ]
        self.dtype = torch.bfloat16 if config.train.precision == "bf16" else None
        self.device = device
        self.batches = enumerate(open_batches(config.data, config.train, config.seed, device=device))

    def run(self, num_steps: int) -> None:
        """Go on for so many steps."""
        for _ in range(num_steps):
            step, batches = next(self.batches)
            for batch in batches:
                with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                    losses = self.objective.losses(batch)
                total = torch.stack([value.float() for own in losses.values() for value in own.values()]).sum()
                (total / len(batches)).backward()
            for group, optimizer in zip(self.objective.groups, self.optimizers, strict=True):
                if step >= group.first_step:
                    torch.nn.utils.clip_grad_norm_(group.parameters, group.optimizer.clip or float("inf"))
                    optimizer.step()
                optimizer.zero_grad()
            self.objective.after_step(step, self.unused_average)


class Moment(NamedTuple):
    """Seconds on the clock and of this process's processor; a difference of two is a duration."""

    clock_s: float
    processor_s: float

    def __sub__(self, other: "Moment") -> "Moment":
        return Moment(self.clock_s - other.clock_s, self.processor_s - other.processor_s)


class Turns:
    """Stands in for the samples of the loop: after each turn of its steps the bare loop has one, and both are timed."""

    def __init__(self, batches: Batches, bare: BareLoop, steps: int):
        self.batches = batches
        self.bare = bare
        self.steps = steps
        self.loop: list[Moment] = []  # what each turn took
        self.bare_loop: list[Moment] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batches, name)

    def __iter__(self) -> Iterator[list[Batch]]:
        started = self._now()
        for done, batches in enumerate(self.batches, 1):
            yield batches
            if done % self.steps == 0:
                ended = self._now()
                self.bare.run(self.steps)
                self.loop.append(ended - started)
                self.bare_loop.append(self._now() - ended)
                started = self._now()

    def _now(self) -> "Moment":
        if self.bare.device.type == "cuda":
            torch.cuda.synchronize()
        return Moment(time.perf_counter(), time.process_time())


def measure(recipe: str, overrides: Sequence[str], *, steps: int, turns: int) -> dict[str, Any]:
    """Seconds of a step in both loops, and the medians of the turns' ratios; a first turn does not count."""
    config = load_config(recipe, [*overrides, f"train.steps={steps * (turns + 1)}"])
    if config.threads:
        torch.set_num_threads(config.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch) / "run")
        folder.make()
        run(config.model_copy(update={"train": config.train.model_copy(update={"steps": 0})}), TABLE, folder.start)
        accelerator = open_accelerator(config.train.trackers, folder.logs)
        objective = cast(GradientObjective, build(config, TABLE))
        training = Training(resolve(config, objective.config), objective, folder, accelerator, None)
        timed = Turns(training.batches, BareLoop(config, folder.start, accelerator.device), steps)
        training.batches = timed  # type: ignore[assignment]
        training.run(show_progress=False)
        accelerator.end_training()
    pairs = list(zip(timed.loop, timed.bare_loop, strict=True))[1:]
    return {
        "recipe": Path(recipe).stem,
        "device": str(accelerator.device),
        "batch_size": config.train.batch_size,
        "steps_a_turn": steps,
        "loop": spread([loop.clock_s / steps for loop, _ in pairs]),
        "bare": spread([bare.clock_s / steps for _, bare in pairs]),
        "loop_to_bare": round(median(loop.clock_s / bare.clock_s for loop, bare in pairs), 4),
        "processor_loop_to_bare": round(median(loop.processor_s / bare.processor_s for loop, bare in pairs), 4),
        "images_per_s": round(config.train.batch_size * steps / median(loop.clock_s for loop, _ in pairs), 2),
    }


def main() -> None:
    """Parse options, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="as for vtok train")
    parser.add_argument("--steps", type=int, default=20, help="of a turn")
    parser.add_argument("--turns", type=int, default=7, help="that count")
    parser.add_argument("-o", "--output", type=Path, help="write the result here too")
    options = parser.parse_args()
    figures = measure(options.recipe, options.overrides, steps=options.steps, turns=options.turns)
    report(head("training_speed") | figures, options.output)


if __name__ == "__main__":
    main()
