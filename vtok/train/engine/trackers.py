"""Loggers of the `accelerate` library by name, beside the run's own log."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vtok.errors import ConfigError, MissingExtraError
from vtok.train.config import RunConfig

TENSORBOARD = "tensorboard"
PROJECT = "vtok"
_PACKAGES = {"comet_ml": "comet-ml", TENSORBOARD: "vtok[train]"}  # where the package has another name than the logger


def check_trackers(names: Sequence[str]) -> None:
    """Let only loggers pass that can be used.

    Raises:
        ConfigError: no such logger.
        MissingExtraError: its library is not installed.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    available = {str(name) for name in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            near = difflib.get_close_matches(name, LOGGER_TYPE_TO_CLASS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(LOGGER_TYPE_TO_CLASS)}"
            raise ConfigError(f"train.trackers: no logger {name!r}; {hint}")
        if name not in available:
            raise MissingExtraError(f'train.trackers: {name} is not installed: pip install "{_PACKAGES.get(name, name)}"')


class Trackers:
    """The loggers of a run; only the first process has any.

    Args:
        accelerator: opened with the loggers' names.
        config: of the run, told to those that keep it.
        step: steps done; what TensorBoard was told about later ones is dropped.
    """

    def __init__(self, accelerator: Any, config: RunConfig, step: int):
        accelerator.init_trackers(PROJECT, init_kwargs={TENSORBOARD: {"purge_step": step + 1}})
        self._trackers = accelerator.trackers if accelerator.is_main_process else []
        for tracker in self._trackers:
            if tracker.name != TENSORBOARD:  # there it would be a run of its own
                tracker.store_init_configuration(config.model_dump(mode="json"))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name, after so many steps."""
        for tracker in self._trackers:
            tracker.log(dict(values), step=step)

    def image(self, name: str, picture: np.ndarray, step: int) -> None:
        """A picture (H, W, 3) uint8, for the loggers that take pictures."""
        for tracker in self._trackers:
            if tracker.name == TENSORBOARD:
                tracker.log_images({name: picture[None]}, step=step, dataformats="NHWC")
            elif hasattr(tracker, "log_images"):
                tracker.log_images({name: [picture]}, step=step)
