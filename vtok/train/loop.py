"""The one training loop: open the pictures, start in closed form, write the model folder."""

import importlib
import logging
from pathlib import Path

import torch

from vtok.data.atomic import write_bytes
from vtok.errors import ConfigError, OutputError
from vtok.train.config import RunConfig, check
from vtok.train.objective import Objective, Table
from vtok.train.pictures import open_pictures

log = logging.getLogger(__name__)


def run(config: RunConfig, objectives: Table, output: Path) -> Path:
    """Train what `config` says and write it as a model folder, then the resolved configuration beside it as `run.json`.

    Args:
        objectives: name -> "module:Class" of all objectives that there are.
        output: the model folder; its files are written at the end, each whole or not at all.

    Raises:
        ConfigError: an unknown objective or a wrong setting.
        DataError: no pictures.
        WeightsError: a frozen network without its weights.
        OutputError: the folder cannot be written; that its parent is missing or a file in its place is found before the work starts.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; name a folder for the model")
    if not output.absolute().parent.is_dir():
        raise OutputError(f"{output.absolute().parent}: no such folder; make it, or name another")
    objective = _build(config, objectives)
    pictures = open_pictures(config.data, config.seed)
    log.info("%d pictures in %s", len(pictures), pictures.source.name)
    tokenizer = objective.prepare(pictures, torch.Generator().manual_seed(config.seed))
    tokenizer.save_pretrained(output)
    resolved = config.model_copy(update={"sections": {config.objective: objective.config.model_dump(mode="json")}})
    write_bytes(output / "run.json", resolved.model_dump_json(indent=2).encode())
    return output


def _build(config: RunConfig, objectives: Table) -> Objective:
    if config.objective not in objectives:
        raise ConfigError(f"no objective {config.objective!r}; there are: {', '.join(objectives)}")
    module, _, name = objectives[config.objective].partition(":")
    objective: type[Objective] = getattr(importlib.import_module(module), name)
    return objective(check(objective.Config, config.settings(), f"[{config.objective}]"))
