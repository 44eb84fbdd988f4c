"""How well another tokenizer's codes are named (TiTok's first stage, arXiv 2406.07550)."""

from torch import Tensor
from torch.nn.functional import cross_entropy


def proxy_code_loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Cross entropy in nats of each sample, the mean over its cells, (B,) float32.

    Args:
        logits: (B, L, K) of the codes of each cell.
        ids: (B, L) int64, the codes that the other tokenizer has there.
    """
    return cross_entropy(logits.float().mT, ids, reduction="none").mean(1)
