"""The averaged copy of the tokenizer, which is what a run keeps."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from vtok.tokenizers.pretrained import Pretrained
from vtok.train.engine.shards import alike, whole


class AveragedTokenizer:
    """An exponential moving average of the parameters that are trained; all else follows the live tokenizer.

    After step k (from 0) an averaged parameter is d * average + (1 - d) * live with d = `decay_at(k, decay)`, so that a short run is not
    mostly its start.

    Args:
        tokenizer: the live one, on its device, with its start in it; its parameters may be dealt out.
        decay: 0 keeps the live weights themselves.
        average: a copy of it from before they were; None makes one.
    """

    def __init__(self, tokenizer: Pretrained, decay: float, average: Pretrained | None = None):
        self.decay = decay
        self.average = (average or copy.deepcopy(tokenizer)).eval().requires_grad_(False)
        self._live = tokenizer
        live, averaged = dict(tokenizer.named_parameters()), dict(self.average.named_parameters())
        trained = {name: parameter for name, parameter in live.items() if parameter.requires_grad}
        self._dealt_out = any(isinstance(parameter, DTensor) for parameter in trained.values())
        self._averaged: dict[str, Tensor] = {
            name: parameter.detach().clone() if self._dealt_out else averaged[name] for name, parameter in trained.items()
        }
        self._sources: list[Tensor] = [live[name] for name in self._averaged]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the live parameters after a step (from 0)."""
        if self._averaged:
            torch._foreach_lerp_(list(self._averaged.values()), self._sources, 1 - decay_at(step, self.decay))

    @torch.no_grad()
    def up_to_date(self) -> Any:
        """The average, whole, in eval mode, with buffers and with parameters that are not trained as they now are in the live tokenizer.

        Where weights are dealt out every process must ask for it.
        """
        live = self._live.state_dict()
        for name, tensor in self.average.state_dict().items():
            if name not in self._averaged:
                tensor.copy_(whole(live[name]))
            elif self._dealt_out:
                tensor.copy_(whole(self._averaged[name]))
        return self.average

    def state(self) -> dict[str, Tensor]:
        """The averaged parameters by name."""
        return dict(self._averaged)

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take averaged parameters as `state` gives them."""
        for name, tensor in self._averaged.items():
            tensor.copy_(alike(state[name], tensor))


def decay_at(step: int, decay: float) -> float:
    """The decay after a step (from 0): 0 after the first, so that the start itself is forgotten, then min(decay, (1 + k) / (10 + k))."""
    return min(decay, (1 + step) / (10 + step)) if step else 0.0
