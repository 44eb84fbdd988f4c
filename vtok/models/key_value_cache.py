"""Keys and values of the tokens so far, so that each is computed once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


@dataclass(eq=False)
class LayerCache:
    """Of one layer. Called with the next T tokens it keeps theirs, and lets these look at all tokens up to themselves.

    Args:
        keys, values: (R, heads, L, d); those of the first `filled` tokens count.
        mask: (R, 1, L, L) bool, true where a token (third axis) may look at another; None where it may look at all up to itself.
        filled: tokens so far.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor | None = None
    filled: int = 0

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, heads, T, d) each, of the first B rows, to what the T tokens gather, (B, heads, T, d)."""
        rows, start = slice(0, len(k)), self.filled
        self.filled += k.shape[2]
        own, seen = slice(start, self.filled), slice(0, self.filled)
        self.keys[rows, :, own], self.values[rows, :, own] = k, v
        allowed = None if self.mask is None else self.mask[rows, :, own, seen]
        if self.mask is None and k.shape[2] > 1:
            allowed = torch.ones(k.shape[2], self.filled, dtype=torch.bool, device=k.device).tril(start)
        return scaled_dot_product_attention(q, self.keys[rows, :, seen], self.values[rows, :, seen], allowed)


class KeyValueCache:
    """Of all layers, in memory that is taken once.

    Args:
        sizes: layers, rows, heads, tokens at most, width of a head.
        like: has the type and the device.
        mask: as of `LayerCache`.
    """

    def __init__(self, sizes: Sequence[int], like: Tensor, mask: Tensor | None = None):
        depth, *own = sizes
        keys, values = like.new_empty(2, depth, *own)
        self.layers = [LayerCache(*pair, mask) for pair in zip(keys, values, strict=True)]

    def keep(self, rows: slice) -> None:
        """Forget all rows but these."""
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]
            layer.mask = None if layer.mask is None else layer.mask[rows]

    def restart(self) -> None:
        """Begin again with no tokens."""
        for layer in self.layers:
            layer.filled = 0
