"""What a run tells: lines of its log, loggers, scores on held-out pictures, picture grids. In the first process alone."""

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vtok.data.atomic import write_bytes
from vtok.tokenizers.card import model_card
from vtok.tokenizers.latents import AnyTokenizer
from vtok.tokenizers.spec import LatentSpec, TokenSpec
from vtok.train.config import RunConfig
from vtok.train.engine import log_file
from vtok.train.engine.picture_grid import picture_grid
from vtok.train.engine.run_folder import RunFolder
from vtok.train.engine.trackers import Trackers
from vtok.train.engine.validation import Validation, find_lpips, whole_tiles
from vtok.train.samples.batches import open_batches
from vtok.train.samples.held_out import held_out_crops

log = logging.getLogger(__name__)

GRID_ROWS = 4


class Reports:
    """Writes them.

    Args:
        config: of the run.
        folder: of the run.
        trackers: loggers beside `log.jsonl`.
        spec: of the tokenizer.
        device: where it is measured.

    Raises:
        ConfigError: pictures or lengths that the tokenizer does not take.
        MissingExtraError, WeightsError: LPIPS is to select, and it or its weights are not at hand.
    """

    best: float | None = None  # score so far

    def __init__(self, config: RunConfig, folder: RunFolder, trackers: Trackers, spec: TokenSpec | LatentSpec, device: torch.device):
        self.config = config.train
        self._folder = folder
        self._trackers = trackers
        self._device = device
        self._validation: Validation | None = None
        if config.train.validation.every or config.train.image_every or config.train.overfit:
            self._images = whole_tiles(fixed_images(config), spec)
        if config.train.validation.every:
            self._validation = self._open_validation(spec)

    def line(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the log; numbers in it, also those in inner tables, go to the loggers."""
        log_file.append(self._folder.log, entry)
        self._trackers.scalars({name: value for name, value in _scalars(entry).items() if name != "step"}, entry["step"])

    def look(self, done: int, tokenizer: AnyTokenizer) -> None:
        """Measure and draw what is due after so many steps, and keep the tokenizer where it is the best so far."""
        last = done == self.config.steps
        if self._validation is not None and (last or done % self.config.validation.every == 0):
            self._validate(done, tokenizer, self._validation)
        if self.config.image_every and (last or done % self.config.image_every == 0):
            self._draw(done, tokenizer)

    def overfit(self, start: AnyTokenizer, end: AnyTokenizer) -> None:
        """Tell what training on a few pictures did to them."""
        validation = Validation(self._images, end.spec, (0,), device=self._device)
        before, after = (validation.measure(tokenizer.to(self._device)).mean("psnr") for tokenizer in (start, end))
        log.info("PSNR of the %d pictures at all tokens: %.2f dB at the start, %.2f dB at the end", len(self._images), before, after)

    def _validate(self, done: int, tokenizer: AnyTokenizer, validation: Validation) -> None:
        scores = validation.measure(tokenizer)
        self.line({"step": done, "validation": scores.to_json()})
        score = scores.mean(self.config.validation.select)
        if self.best is None or score > self.best:
            self.best = score
            save_model(tokenizer, self._folder.best)

    def _draw(self, done: int, tokenizer: AnyTokenizer) -> None:
        grid = picture_grid(tokenizer, self._images[:GRID_ROWS].to(self._device))
        file = io.BytesIO()
        Image.fromarray(grid).save(file, "PNG")
        write_bytes(self._folder.images / f"step-{done:08d}.png", file.getvalue())
        self._trackers.image("pictures", grid, done)

    def _open_validation(self, spec: TokenSpec | LatentSpec) -> Validation:
        settings = self.config.validation
        images = self._images[: settings.num_pictures]
        lpips = find_lpips(min(images.shape[2:]), settings.select)
        return Validation(images, spec, settings.lengths, lpips=lpips, device=self._device)


def fixed_images(config: RunConfig) -> Tensor:
    """Held-out pictures (N, 3, S, S) in [0, 1] that a run is measured on; those trained on where these are only a few."""
    train = config.train
    if not train.overfit:
        return held_out_crops(config.data, max(train.validation.num_pictures, GRID_ROWS), seed=config.seed)
    once = train.model_copy(update={"batch_size": train.overfit, "accumulate": 1, "steps": 1})
    batches = open_batches(config.data.model_copy(update={"workers": 0}), once, config.seed, overfit=train.overfit)
    return next(iter(batches))[0].images[: batches.num_pictures]


def save_model(tokenizer: AnyTokenizer, folder: Path) -> None:
    """Write a model folder with a card of its own facts."""
    tokenizer.save_pretrained(folder, card=model_card(tokenizer, folder.name))


def _scalars(entry: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in entry.items():
        if isinstance(value, Mapping):
            found |= _scalars(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            found[prefix + key] = value
    return found
