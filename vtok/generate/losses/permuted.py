"""Tokens in random orders, fewer and fewer of them as a training goes on (RAR, arXiv 2411.00776, section 3.2)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def random_share(step: int, start: int, stop: int) -> float:
    """Share of strings that are given in a random order: 1 till `start`, then falling to 0 at `stop`."""
    if step < start:
        return 1.0
    return 0.0 if step >= stop else 1 - (step - start) / (stop - start)


def orders(draws: Tensor, share: float) -> Tensor:
    """(B, N) int64, a permutation of the places for each string: a random one for a share of them, else that of the places.

    Args:
        draws: (B, 1 + N) even noise in [0, 1).
    """
    num = draws.shape[1] - 1
    return torch.where(draws[:, :1] < share, draws[:, 1:].argsort(-1), torch.arange(num, device=draws.device))


def permuted_loss(logits: Tensor, ids: Tensor, order: Tensor) -> Tensor:
    """Mean cross entropy of the tokens in their order.

    Args:
        logits: (B, N + 1, K) as `Rar` gives them.
        ids: (B, N) in the order of places.
        order: (B, N).
    """
    return cross_entropy(logits[:, :-1].float().transpose(1, 2), ids.gather(1, order))
