"""Which components each token codes: reverse water-filling of the bits, dealt out in order of variance."""

import torch
from torch import Tensor


def rates(variances: Tensor, bits: float) -> Tensor:
    """Bits for each Gaussian component, max(0, 0.5 log2(variance / theta)), theta such that they sum to `bits`.

    (Cover and Thomas, Elements of Information Theory, theorem on reverse water-filling.)

    Args:
        variances: (D,) positive.
        bits: total, positive.
    """
    logs = variances.double().log2().sort(descending=True).values
    counts = torch.arange(1, len(logs) + 1)
    levels = (logs.cumsum(0) - 2 * bits) / counts  # log2 theta if exactly the first n components were coded
    coded = int((logs > levels).sum())
    return (0.5 * (variances.double().log2() - levels[coded - 1])).clamp(min=0)


def deal(variances: Tensor, num_tokens: int, bits_per_token: float) -> list[Tensor]:
    """Components (indices) of each token: largest variances first, each token an equal share of the theoretical rate.

    Every token gets at least one component.

    Args:
        variances: (D,) positive, D at least num_tokens.
        bits_per_token: theoretical rate of a token; the table's own log2 size, or less or more to code fewer or more components.

    Raises:
        ValueError: fewer components than tokens.
    """
    if len(variances) < num_tokens:
        raise ValueError(f"{num_tokens} tokens need as many components, got {len(variances)}")
    rate = rates(variances, num_tokens * bits_per_token)
    order = variances.argsort(descending=True, stable=True)
    order = order[: max(int((rate > 0).sum()), num_tokens)]
    spent = rate[order].cumsum(0) - rate[order] / 2  # the middle of each component's share
    token = (spent / spent.new_tensor(float(rate.sum())) * num_tokens).long().clamp(0, num_tokens - 1)
    return [order[token == k] for k in range(num_tokens)] if len(token.unique()) == num_tokens else _evenly(order, token, num_tokens)


def _evenly(order: Tensor, token: Tensor, num_tokens: int) -> list[Tensor]:
    """Deal with no token left empty: where the shares skip one, its neighbours give a component."""
    sizes = torch.bincount(token, minlength=num_tokens)
    while int(sizes.min()) == 0:
        sizes[sizes.argmin()] += 1
        sizes[sizes.argmax()] -= 1
    return list(order.split(sizes.tolist()))
