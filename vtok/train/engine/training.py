"""A run by gradient, from its start or last checkpoint to its last step."""

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from torch import nn

from vtok.errors import ConfigError
from vtok.tokenizers.latents import AnyTokenizer
from vtok.tokenizers.pretrained import Pretrained
from vtok.train.config import RunConfig
from vtok.train.engine import checkpoint, random_state, state
from vtok.train.engine.accelerator import any_process, gather
from vtok.train.engine.checkpoint import Checkpoint
from vtok.train.engine.clock import Clock
from vtok.train.engine.ema import AveragedTokenizer
from vtok.train.engine.measurements import Measurements, Row, means
from vtok.train.engine.progress import Progress, open_progress
from vtok.train.engine.reports import Reports, save_model
from vtok.train.engine.run_folder import RunFolder
from vtok.train.engine.shards import check_shards
from vtok.train.engine.steps import GRAD_NORM, Stepper
from vtok.train.engine.stop import StoppedError, StopRequest, stop_request
from vtok.train.engine.trackers import Trackers
from vtok.train.objective import GradientObjective
from vtok.train.samples.batches import Batches, open_batches
from vtok.train.samples.strings import StringBatches, open_string_batches

RANDOM = "random."  # before a rank, in the names of a checkpoint's tensors


class Training:
    """The loop and what it keeps.

    Args:
        config: resolved.
        objective: before `begin`.
        folder: with the start in it.
        accelerator: of the `accelerate` library.
        found: where to go on; None at the start.

    Raises:
        ConfigError: settings that this objective or its tokenizer does not take.
        DataError: no pictures.
        TrainingError: a checkpoint of another version of the objective.
    """

    def __init__(self, config: RunConfig, objective: GradientObjective, folder: RunFolder, accelerator: Any, found: Checkpoint | None):
        self.config, self.objective, self.folder, self.accelerator = config, objective, folder, accelerator
        self.done = found.step if found else 0
        open_samples: Callable[..., Batches | StringBatches] = open_string_batches if config.data.kind == "tokens" else open_batches
        self.batches = open_samples(
            config.data,
            config.train,
            config.seed,
            start_step=self.done,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            overfit=config.train.overfit or None,
            device=accelerator.device,
        )
        random_state.seed(config.seed)
        objective.begin(cast(AnyTokenizer, Pretrained.from_pretrained(folder.start)), config.seed)
        _check_latents(objective, self.batches.autoencoder_digest, config.data.path)
        if config.train.shard:
            check_shards(objective, accelerator.num_processes, compiled=config.train.compile)
        _set_checkpointing(objective, config.train.gradient_checkpointing)
        average = copy.deepcopy(objective.model).to(accelerator.device) if config.train.shard else None
        self.stepper = Stepper(objective, config.train, accelerator)
        self.ema = AveragedTokenizer(objective.model, config.train.ema, average)
        self.measurements = Measurements(accelerator, found.facts["rows"] if found else ())
        trackers = Trackers(accelerator, config, self.done)
        self.reports: Reports | None = None  # in the first process alone
        if accelerator.is_main_process:
            self.reports = Reports(config, folder, trackers, objective.model)
        random_state.seed(config.seed + accelerator.process_index)
        if found:
            self._restore(found)

    def run(self, *, show_progress: bool) -> None:
        """All steps that are left.

        Raises:
            TrainingError: a loss or gradient that is no number.
            StoppedError: a signal asked to stop; a checkpoint was written.
        """
        num_steps = self.config.train.steps
        self.clock, self.saved_at = Clock(self.done), time.monotonic()
        shown = open_progress(num_steps, self.done, moving=show_progress, silent=self.reports is None)
        with stop_request() as request, shown as progress:
            for step, batches in enumerate(cast(Iterable[Any], self.batches), self.done):
                self.measurements.add(step + 1, *self.stepper.step(step, batches))
                self.ema.update(step)
                self.objective.after_step(step, self.ema.average)
                self.done = step + 1
                progress.step(self.done)
                if self._look_around(request, progress):
                    raise StoppedError(f"stopped after step {self.done} of {num_steps}; the same command goes on from there")
        end = self.ema.up_to_date()
        if self.reports is not None and self.config.train.overfit:
            self.reports.overfit(cast(AnyTokenizer, Pretrained.from_pretrained(self.folder.start)), end)

    def _look_around(self, request: StopRequest, progress: Progress) -> bool:
        """Do what is due after a step; returns whether to stop."""
        train, done = self.config.train, self.done
        last, logs = done == train.steps, done % train.log_every == 0
        stops = late = False
        if self.accelerator.num_processes == 1 or logs:  # several processes must agree, which makes them wait for one another
            stops, late = any_process(self.accelerator, (request.asked, self._is_late()))
        looks = last or any(every and done % every == 0 for every in (train.validation.every, train.image_every))
        saves = last or stops or late or done % train.checkpoint_every == 0
        if logs or looks or saves:
            rows = self.measurements.look(self._last_good())
            if logs or last:
                self._log(rows, progress)
            with self.clock.paused():
                if looks:
                    model = self.ema.up_to_date()
                    if self.reports is not None:
                        self.reports.look(done, model)
                if saves:
                    self._save()
        return stops and not last

    def _is_late(self) -> bool:
        minutes = self.config.train.checkpoint_minutes
        return minutes > 0 and time.monotonic() - self.saved_at > 60 * minutes

    def _last_good(self) -> str:
        path = checkpoint.newest(self.folder.checkpoints)
        return f"the last good checkpoint is {path}" if path else f"no checkpoint was written yet, the start is in {self.folder.start}"

    def _log(self, rows: Sequence[Row], progress: Progress) -> None:
        values = means(rows)
        norms = {name.removeprefix(GRAD_NORM): values.pop(name) for name in list(values) if name.startswith(GRAD_NORM)}
        lap = self.clock.lap(self.done, self.batches.wait_s)
        batch_size = self.config.train.batch_size
        images_per_s = round(lap.steps * batch_size / lap.seconds, 3)
        entry = {
            "step": self.done,
            "epoch": round(self.done * batch_size / self.batches.num_pictures, 4),
            "loss": values,
            "grad_norm": norms,
            "learning_rate": {group.name: self.stepper.learning_rate(self.done - 1, group) for group in self.stepper.groups},
            "images_per_s": images_per_s,
            "data_wait_s": round(lap.wait_s, 3),
            "skipped": len(self.batches.skipped),
        }
        self.measurements.clear()
        progress.figures(self.done, values, images_per_s)
        if self.reports is not None:
            self.reports.line(entry)

    def _save(self) -> None:
        """The averaged weights as a model, then a checkpoint."""
        random_states = gather((random_state.tensors(self.accelerator.device), random_state.facts()))
        model = self.ema.up_to_date()
        tensors = state.collect(cast(nn.Module, self.objective), self.ema, self.stepper.optimizers)
        if self.reports is not None:
            save_model(model, self.folder.path)
            for rank, (own, _) in enumerate(random_states):
                tensors |= {f"{RANDOM}{rank}.{name}": value for name, value in own.items()}
            facts = {"random": [own for _, own in random_states], "rows": self.measurements.rows, "best": self.reports.best}
            checkpoint.save(self.folder.checkpoints, Checkpoint(self.done, tensors, facts), keep=self.config.train.keep)
        self.accelerator.wait_for_everyone()
        self.saved_at = time.monotonic()

    def _restore(self, found: Checkpoint) -> None:
        state.restore(found.tensors, cast(nn.Module, self.objective), self.ema, self.stepper.optimizers)
        if self.reports is not None:
            self.reports.best = found.facts["best"]
        rank = self.accelerator.process_index
        if rank < len(found.facts["random"]):
            prefix = f"{RANDOM}{rank}."
            own = {name.removeprefix(prefix): value for name, value in found.tensors.items() if name.startswith(prefix)}
            random_state.restore(own, found.facts["random"][rank], self.accelerator.device)


def _check_latents(objective: GradientObjective, digest: str | None, place: str) -> None:
    if digest is not None and digest != (own := objective.latents_digest()):
        raise ConfigError(
            f"{place} holds latents of another autoencoder ({digest[:8]}) than this run's ({own[:8]}); cache them anew with that"
        )


def _set_checkpointing(objective: GradientObjective, wanted: bool) -> None:
    if not wanted:
        return
    switch = getattr(objective.model, "set_gradient_checkpointing", None)
    if switch is None:
        raise ConfigError(f"train.gradient_checkpointing: the family {objective.model.family} cannot do it; set it to false")
    switch(True)
