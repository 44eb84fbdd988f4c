"""The attention of FlexTok's encoder by `flex_attention`: a kernel compiled for its mask, for encoding many pictures of one size.

It is for inference: it takes seconds and a C++ compiler (on a GPU Triton) at the first call, and has no backward pass on processors.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from vtok.models.gated_transformer import Attend


def compiled_patches_then_registers(num_patches: int) -> Attend:
    """What `gated_transformer.patches_then_registers` computes."""

    def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        mask = _mask(num_patches, q.shape[2], k.shape[2], k.device)
        out: Tensor = _kernel()(q, k, v, block_mask=mask, scale=scale)
        return out

    return attend


@cache
def _kernel():
    return torch.compile(flex_attention, dynamic=False)


@cache
def _mask(num_patches: int, num_asking: int, num_tokens: int, device: torch.device) -> BlockMask:
    """Of the last `num_asking` tokens, which look at all."""
    first = num_tokens - num_asking

    def seen(batch: Tensor, head: Tensor, asks: Tensor, place: Tensor) -> Tensor:  # noqa: ARG001 - all samples and heads alike
        return (place < num_patches) | (place <= asks + first)

    return create_block_mask(seen, None, None, num_asking, num_tokens, device=device)
