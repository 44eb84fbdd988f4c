"""Tensors of all processes together."""

import torch
from torch import Tensor, distributed


def gathered(own: Tensor) -> Tensor:
    """Tensors (B, ...) of all processes, of one shape, one after another in the order of their ranks; the own one where there is one."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return own
    parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, own.contiguous())
    return torch.cat(parts)
