"""The averaged copy of the tokenizer, which is what a run keeps."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from vtok.tokenizers.latents import AnyTokenizer


class AveragedTokenizer:
    """An exponential moving average of the parameters that are trained; all else follows the live tokenizer.

    After step k (from 0) an averaged parameter is d * average + (1 - d) * live with d = `decay_at(k, decay)`, so that a short run is not
    mostly its start.

    Args:
        tokenizer: the live one, on its device, with its start in it.
        decay: 0 keeps the live weights themselves.
    """

    def __init__(self, tokenizer: AnyTokenizer, decay: float):
        self.decay = decay
        self.average = copy.deepcopy(tokenizer).eval().requires_grad_(False)
        self._live = tokenizer
        live, averaged = dict(tokenizer.named_parameters()), dict(self.average.named_parameters())
        self._averaged: dict[str, Tensor] = {name: averaged[name] for name, parameter in live.items() if parameter.requires_grad}
        self._sources: list[Tensor] = [live[name] for name in self._averaged]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the live parameters after a step (from 0)."""
        if self._averaged:
            torch._foreach_lerp_(list(self._averaged.values()), self._sources, 1 - decay_at(step, self.decay))

    @torch.no_grad()
    def up_to_date(self) -> AnyTokenizer:
        """The average, in eval mode, with buffers and with parameters that are not trained as they now are in the live tokenizer."""
        live = self._live.state_dict()
        for name, tensor in self.average.state_dict().items():
            if name not in self._averaged:
                tensor.copy_(live[name])
        return self.average

    def state(self) -> dict[str, Tensor]:
        """The averaged parameters by name."""
        return dict(self._averaged)

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take averaged parameters as `state` gives them."""
        for name, tensor in self._averaged.items():
            tensor.copy_(state[name])


def decay_at(step: int, decay: float) -> float:
    """The decay after a step (from 0): 0 after the first, so that the start itself is forgotten, then min(decay, (1 + k) / (10 + k))."""
    return min(decay, (1 + step) / (10 + step)) if step else 0.0
