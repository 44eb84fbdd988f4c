"""Blocks whose inner results are not kept for the backward pass but computed again in it, which saves memory (arXiv 1604.06174)."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch.utils.checkpoint import checkpoint

Out = TypeVar("Out")


def run(block: Callable[..., Out], *arguments: object, again: bool) -> Out:
    """block(*arguments).

    Args:
        again: compute it once more in a backward pass that may follow, rather than keep what it needs.
    """
    out: Out = checkpoint(block, *arguments, use_reentrant=False) if again and torch.is_grad_enabled() else block(*arguments)
    return out
