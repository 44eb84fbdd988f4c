"""Looks at a generator: how many bits held-out tokens cost it, and pictures that it makes, at some lengths."""

from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from vtok.data.eight_bit import to_eight_bit
from vtok.errors import VtokError
from vtok.tokenizers.base import Tokenizer, Tokens
from vtok.tokenizers.spec import TokenSpec
from vtok.train.config import RunConfig
from vtok.train.engine.picture_grid import sheet, shown_lengths
from vtok.train.samples.batch import StringBatch
from vtok.train.samples.strings import held_out_strings, open_string_batches

AT_ONCE = 64  # strings
NUM_DRAWN = 4


class Maker(Protocol):
    """What is asked of a generator."""

    spec: TokenSpec

    def bits(self, ids: Tensor, classes: Tensor | None) -> Tensor:
        """(B, N) bits that each token of strings (B, N, K) costs."""

    def decoder(self) -> Tokenizer:
        """What makes pictures of its strings."""

    def example_classes(self, num: int) -> Tensor | None:
        """Classes (num,) int64 spread over all; None where it knows none."""

    def sample(self, num: int, condition: Any, num_tokens: int | None, seed: int) -> Tokens:
        """Strings."""


class StringLooks:
    """See `Looks`."""

    def __init__(self, config: RunConfig, generator: Maker):
        settings = config.train.validation
        self._batch = held_out_strings(config.data, settings.num_pictures) if not config.train.overfit else _overfitted(config)
        wanted = settings.lengths if settings.every else ()
        lengths = (generator.spec.check_length(length or generator.spec.max_tokens) for length in wanted)
        self._lengths = sorted({min(length, self._batch.ids.shape[1]) for length in lengths})
        self._device = next(iter(cast(Any, generator).state_dict().values())).device

    @torch.no_grad()
    def measure(self, model: Maker) -> tuple[dict[str, Any], float]:
        bits = self._bits(model)
        means = {str(length): float(bits[:, :length].nanmean()) for length in self._lengths}
        return {"bits_per_token": means, "strings": len(bits)}, -float(bits.nanmean())

    def draw(self, model: Maker) -> np.ndarray | None:
        """One row a class, drawn with the same seeds each time; a column for each length."""
        try:
            tokenizer = model.decoder().to(self._device)
        except VtokError:
            return None
        tokens = model.sample(NUM_DRAWN, model.example_classes(NUM_DRAWN), None, 0)
        lengths = shown_lengths(tokenizer.spec)
        columns = [to_eight_bit(tokenizer.decode(tokens.prefix(length))).permute(0, 2, 3, 1).cpu().numpy() for length in lengths]
        return sheet(columns, [f"{length} token{'s' * (length > 1)}" for length in lengths])

    @torch.no_grad()
    def overfit(self, start: Maker, end: Maker) -> str:
        before, after = (float(self._bits(cast(Any, model).to(self._device)).nanmean()) for model in (start, end))
        return f"bits per token of the {len(self._batch.ids)} strings: {before:.3f} at the start, {after:.3f} at the end"

    def _bits(self, model: Maker) -> Tensor:
        """(strings, N), NaN beyond the length of a string."""
        found = []
        for first in range(0, len(self._batch.ids), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            classes = None if self._batch.classes is None else self._batch.classes[part].to(self._device)
            found.append(model.bits(self._batch.ids[part].to(self._device), classes).cpu())
        bits = torch.cat(found)
        beyond = torch.arange(bits.shape[1]) >= self._batch.lengths.cpu()[:, None]
        return bits.masked_fill(beyond, torch.nan)


def _overfitted(config: RunConfig) -> StringBatch:
    train = config.train
    once = train.model_copy(update={"batch_size": train.overfit, "accumulate": 1, "steps": 1})
    return next(iter(open_string_batches(config.data, once, config.seed, overfit=train.overfit)))[0]
