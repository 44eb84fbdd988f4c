"""A prefix's decoder features drawn to those of the full string (NesTok, self-alignment)."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity


def alignment_features(latent_outputs: Tensor, mask_outputs: Tensor) -> Tensor:
    """f of a decoder's layer: the mean over the latent tokens, then the mask tokens.

    Args:
        latent_outputs: (B, n, d) the layer's outputs at the latent tokens.
        mask_outputs: (B, N, d) its outputs at the mask tokens.

    Returns:
        (B, 1 + N, d).
    """
    mean = latent_outputs.mean(1, keepdim=True)
    return torch.cat([mean.to(mask_outputs.dtype), mask_outputs], 1)


def alignment_loss(prefix: Tensor, full: Tensor) -> Tensor:
    """L_align = 1 - mean_j cos(f_j of the prefix, sg f_j of the full string), (B,) float32 in [0, 2].

    Args:
        prefix: (B, 1 + N, d) `alignment_features` of the prefix; float32 inside autocast.
        full: (B, 1 + N, d) those of the full string; no gradient passes to it.
    """
    with torch.autocast(prefix.device.type, enabled=False):
        return 1 - cosine_similarity(prefix.float(), full.detach().float(), dim=-1).mean(1)
