"""Looks at a tokenizer: what is left of held-out pictures at some lengths."""

from typing import Any

import numpy as np
from torch import Tensor

from vtok.tokenizers.latents import AnyTokenizer
from vtok.tokenizers.spec import LatentSpec, TokenSpec
from vtok.train.config import RunConfig
from vtok.train.engine.picture_grid import picture_grid
from vtok.train.engine.validation import Validation, find_lpips, whole_tiles
from vtok.train.samples.batches import open_batches
from vtok.train.samples.held_out import held_out_crops

GRID_ROWS = 4


class PictureLooks:
    """See `Looks`.

    Raises:
        ConfigError: pictures or lengths that the tokenizer does not take.
        MissingExtraError, WeightsError: LPIPS is to select, and it or its weights are not at hand.
    """

    def __init__(self, config: RunConfig, tokenizer: AnyTokenizer):
        self._settings = config.train.validation
        self._device = next(iter(tokenizer.state_dict().values())).device
        self._images = whole_tiles(fixed_images(config), tokenizer.spec)
        self._validation = self._open(tokenizer.spec) if self._settings.every else None

    def measure(self, model: AnyTokenizer) -> tuple[dict[str, Any], float]:
        if self._validation is None:
            raise ValueError("train.validation.every is 0, nothing is measured")
        scores = self._validation.measure(model)
        return scores.to_json(), scores.mean(self._settings.select)

    def draw(self, model: AnyTokenizer) -> np.ndarray:
        return picture_grid(model, self._images[:GRID_ROWS].to(self._device))

    def overfit(self, start: AnyTokenizer, end: AnyTokenizer) -> str:
        validation = Validation(self._images, end.spec, (0,), device=self._device)
        before, after = (validation.measure(tokenizer.to(self._device)).mean("psnr") for tokenizer in (start, end))
        return f"PSNR of the {len(self._images)} pictures at all tokens: {before:.2f} dB at the start, {after:.2f} dB at the end"

    def _open(self, spec: TokenSpec | LatentSpec) -> Validation:
        images = self._images[: self._settings.num_pictures]
        lpips = find_lpips(min(images.shape[2:]), self._settings.select)
        return Validation(images, spec, self._settings.lengths, lpips=lpips, device=self._device)


def fixed_images(config: RunConfig) -> Tensor:
    """Held-out pictures (N, 3, S, S) in [0, 1] that a run is measured on; those trained on where these are only a few."""
    train = config.train
    if not train.overfit:
        return held_out_crops(config.data, max(train.validation.num_pictures, GRID_ROWS), seed=config.seed)
    once = train.model_copy(update={"batch_size": train.overfit, "accumulate": 1, "steps": 1})
    batches = open_batches(config.data.model_copy(update={"workers": 0}), once, config.seed, overfit=train.overfit)
    return next(iter(batches))[0].images[: batches.num_pictures]
