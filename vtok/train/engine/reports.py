"""What a run tells: lines of its log, loggers, scores on held-out samples, pictures. In the first process alone."""

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from vtok.data.atomic import write_bytes
from vtok.tokenizers.card import model_card
from vtok.tokenizers.pretrained import Pretrained
from vtok.train.config import RunConfig
from vtok.train.engine import log_file
from vtok.train.engine.looks import Looks, open_looks
from vtok.train.engine.run_folder import RunFolder
from vtok.train.engine.trackers import Trackers

log = logging.getLogger(__name__)


class Reports:
    """Writes them.

    Args:
        config: of the run.
        folder: of the run.
        trackers: loggers beside `log.jsonl`.
        model: that is trained, on the device where it is measured.

    Raises:
        ConfigError: samples or lengths that the model does not take.
        MissingExtraError, WeightsError: LPIPS is to select, and it or its weights are not at hand.
    """

    best: float | None = None  # score so far

    def __init__(self, config: RunConfig, folder: RunFolder, trackers: Trackers, model: Pretrained):
        self.config = config.train
        self._folder = folder
        self._trackers = trackers
        wanted = config.train.validation.every or config.train.image_every or config.train.overfit
        self._looks: Looks | None = open_looks(config, model) if wanted else None

    def line(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the log; numbers in it, also those in inner tables, go to the loggers."""
        log_file.append(self._folder.log, entry)
        self._trackers.scalars({name: value for name, value in _scalars(entry).items() if name != "step"}, entry["step"])

    def look(self, done: int, model: Pretrained) -> None:
        """Measure and draw what is due after so many steps, and keep the model where it is the best so far."""
        if self._looks is None:
            return
        last = done == self.config.steps
        if self.config.validation.every and (last or done % self.config.validation.every == 0):
            self._validate(done, model, self._looks)
        if self.config.image_every and (last or done % self.config.image_every == 0):
            self._draw(done, model, self._looks)

    def overfit(self, start: Pretrained, end: Pretrained) -> None:
        """Tell what training on a few samples did to them."""
        if self._looks is not None:
            log.info(self._looks.overfit(start, end))

    def _validate(self, done: int, model: Pretrained, looks: Looks) -> None:
        told, score = looks.measure(model)
        self.line({"step": done, "validation": told})
        if self.best is None or score > self.best:
            self.best = score
            save_model(model, self._folder.best)

    def _draw(self, done: int, model: Pretrained, looks: Looks) -> None:
        grid = looks.draw(model)
        if grid is None:
            return
        file = io.BytesIO()
        Image.fromarray(grid).save(file, "PNG")
        write_bytes(self._folder.images / f"step-{done:08d}.png", file.getvalue())
        self._trackers.image("pictures", grid, done)


def save_model(model: Pretrained, folder: Path) -> None:
    """Write a model folder with a card of its own facts."""
    model.save_pretrained(folder, card=model_card(model, folder.name))


def _scalars(entry: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in entry.items():
        if isinstance(value, Mapping):
            found |= _scalars(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            found[prefix + key] = value
    return found
