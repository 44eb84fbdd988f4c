"""What a network says of the next token, as a string grows: with the keys and values of earlier tokens kept, or all anew."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from vtok.models.causal_transformer import whole
from vtok.models.conditions import condition_mask
from vtok.models.gpt import Gpt
from vtok.models.key_value_cache import KeyValueCache


class Steps(Protocol):
    """A growing batch of strings."""

    def __call__(self, x: Tensor) -> Tensor:
        """The next tokens (R, T, D), the condition's at first, to what the network says behind the last of them, (R, D).

        Fewer rows than before are the first of them.
        """

    def keep(self, rows: slice) -> None:
        """Forget all strings but these."""


NewSteps = Callable[[Gpt, int, int, Tensor | None], Steps]
"""(network, strings R, tokens of a string that the network will be given at most, (R, C) bool as of `Condition.seen`) to their steps."""


class CachedSteps:
    """With keys and values kept, so that each token costs as much as its own weights and a look at those before."""

    def __init__(self, model: Gpt, rows: int, num_steps: int, seen: Tensor | None):
        trunk, like = model.config.trunk, model.head.norm.weight
        length = model.condition.num_tokens + num_steps
        self.trunk, self.turns, self.filled = model.trunk, model.turns(length).to(like.device), 0
        mask = None if seen is None else condition_mask(seen, length)
        self.cache = KeyValueCache((trunk.depth, rows, trunk.heads, length, trunk.head_dim), like, mask)

    def __call__(self, x: Tensor) -> Tensor:
        start, self.filled = self.filled, self.filled + x.shape[1]
        out: Tensor = self.trunk(x, self.turns[start : self.filled], self.cache.layers)
        return out[:, -1]

    def keep(self, rows: slice) -> None:
        self.cache.keep(rows)


class WholeSteps:
    """With all tokens computed again for each: what the other way is held against."""

    def __init__(self, model: Gpt, rows: int, num_steps: int, seen: Tensor | None):
        like, length = model.head.norm.weight, model.condition.num_tokens + num_steps
        self.trunk, self.turns = model.trunk, model.turns(length).to(like.device)
        self.mask = None if seen is None else condition_mask(seen, length)
        self.x = like.new_empty(rows, 0, model.config.trunk.dim)

    def __call__(self, x: Tensor) -> Tensor:
        self.x = torch.cat([self.x[: len(x)], x], 1)
        length = self.x.shape[1]
        mask = None if self.mask is None else self.mask[: len(x), :, :length, :length]
        out: Tensor = self.trunk(self.x, self.turns[:length], whole(mask))
        return out[:, -1]

    def keep(self, rows: slice) -> None:
        self.x = self.x[rows]
        self.mask = None if self.mask is None else self.mask[rows]
