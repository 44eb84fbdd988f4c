"""The one training loop: start in closed form, then steps by gradient with checkpoints, logs and measures; a run cut off goes on."""

import gc
import importlib
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import torch

from vtok.errors import ConfigError, OutputError
from vtok.tokenizers.latents import AnyTokenizer
from vtok.train.config import RunConfig, check
from vtok.train.engine import checkpoint, log_file
from vtok.train.engine.accelerator import from_first, open_accelerator
from vtok.train.engine.reports import save_model
from vtok.train.engine.run_folder import RunFolder, resolve
from vtok.train.engine.training import Training
from vtok.train.engine.validation import find_lpips
from vtok.train.objective import GradientObjective, Objective, Table
from vtok.train.samples.pictures import open_pictures
from vtok.train.samples.strings import open_run_strings

log = logging.getLogger(__name__)


def run(config: RunConfig, objectives: Table, output: Path, *, show_progress: bool = False) -> Path:
    """Train what `config` says and write it as a model folder, with the resolved configuration beside it as `run.json`.

    Without gradient steps that is all. With them the folder also has `start/`, `checkpoints/`, `log.jsonl` and more, see `RunFolder`; a
    folder that holds a run of the same settings goes on from its last checkpoint.

    Args:
        objectives: name -> "module:Class" of all objectives that there are.
        output: the model folder; its files are written whole or not at all.
        show_progress: a moving bar on a terminal's standard error; otherwise progress is logged.

    Raises:
        ConfigError: an unknown objective, a wrong setting, or a folder that holds another run.
        DataError: no pictures.
        WeightsError: a frozen network without its weights.
        OutputError: the folder cannot be written, holds something else, or another process trains in it; what can be found before the work
            starts is found then.
        TrainingError: a loss that is no number, or checkpoints of which none can be read.
        StoppedError: a signal asked to stop; a checkpoint was written.
    """
    _set_threads(config)
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; name a folder for the model")
    if not output.absolute().parent.is_dir():
        raise OutputError(f"{output.absolute().parent}: no such folder; make it, or name another")
    folder = RunFolder(output)
    folder.check_free()
    objective = build(config, objectives)
    if objective.takes_strings != (config.data.kind == "tokens"):
        wanted = 'strings of tokens: data.kind = "tokens", made by vtok tokenize' if objective.takes_strings else "pictures, not tokens"
        raise ConfigError(f"data.kind is {config.data.kind}, but {config.objective} is trained on {wanted}")
    resolved = resolve(config, objective.config)
    if not config.train.steps:
        if config.train.overfit:
            raise ConfigError(f"train.overfit is {config.train.overfit}, but train.steps is 0: only steps by gradient can overfit")
        if folder.has_begun():
            folder.check_same(resolved, objective.Config)
        tokenizer = _prepared(objective, config)
        output.mkdir(exist_ok=True)
        folder.write_config(resolved)
        tokenizer.save_pretrained(output)
    elif not hasattr(objective, "losses"):
        raise ConfigError(f"train.steps is {config.train.steps}, but {config.objective} is fitted without gradient steps; set it to 0")
    else:
        _train(resolved, cast(GradientObjective, objective), folder, show_progress=show_progress)
    return output


def build(config: RunConfig, objectives: Table) -> Objective:
    """The objective that a configuration names, from its own section.

    Raises:
        ConfigError: there is none of that name, or a wrong setting.
    """
    if config.objective not in objectives:
        raise ConfigError(f"no objective {config.objective!r}; there are: {', '.join(objectives)}")
    module, _, name = objectives[config.objective].partition(":")
    objective: type[Objective] = getattr(importlib.import_module(module), name)
    return objective(check(objective.Config, config.settings(), f"[{config.objective}]"))


def _set_threads(config: RunConfig) -> None:
    if config.threads:
        torch.set_num_threads(config.threads)


def _prepared(objective: Objective, config: RunConfig) -> AnyTokenizer:
    generator = torch.Generator().manual_seed(config.seed)
    if config.data.kind == "tokens":
        strings = open_run_strings(config.data)
        log.info("%d strings in %s", len(strings), strings.name)
        return objective.prepare(strings, generator)
    pictures = open_pictures(config.data, config.seed)
    log.info("%d pictures in %s", len(pictures), pictures.source.name)
    return objective.prepare(pictures, generator)


def _train(config: RunConfig, objective: GradientObjective, folder: RunFolder, *, show_progress: bool) -> None:
    accelerator = open_accelerator(config.train.trackers, folder.logs)
    _set_threads(config)  # several processes on one processor were given a share each
    with ExitStack() as held:
        try:
            found = from_first(accelerator, lambda: _first_step(config, objective, folder, held))
            if found == config.train.steps:
                return
            last = checkpoint.read(folder.checkpoints, found) if found else None
            Training(config, objective, folder, accelerator, last).run(show_progress=show_progress)
        finally:
            gc.collect()  # dealt-out weights hold on to the processes' connections, which must not outlive them
            accelerator.end_training()


def _first_step(config: RunConfig, objective: GradientObjective, folder: RunFolder, held: ExitStack) -> int:
    """Where to go on, with everything in the folder as it was then; 0 with a start newly made or found. `held` gets the folder's lock."""
    if folder.config.exists():
        folder.check_same(config, objective.Config)
    objective.check(config.data)  # this and LPIPS before the long preparation
    if config.train.validation.every and config.data.kind != "tokens":
        find_lpips(config.data.crop_size, config.train.validation.select)
        if config.data.split == "all" and not config.train.overfit:
            log.warning('scores will be of pictures that are trained on; data.split = "train" leaves them out')
    start = None if folder.has_begun() else _prepared(objective, config)
    folder.make()
    held.callback(folder.lock().release)
    if start is not None:
        save_model(start, folder.start)
        folder.write_config(config)
        save_model(start, folder.path)
    folder.remove_unfinished()
    found = checkpoint.last_whole(folder.checkpoints)
    step = found.step if found else 0
    if step == config.train.steps:
        log.info("%s is finished: %d steps", folder.path, step)
    elif step:
        log.info("going on after step %d of %d in %s", step, config.train.steps, folder.path)
    folder.write_config(config)
    log_file.cut(folder.log, step)
    return step
