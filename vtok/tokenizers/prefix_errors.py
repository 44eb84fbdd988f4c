"""What each prefix of a string leaves undone, from what some of them do; for families whose latents do not say what a token is worth."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def errors_of_prefixes(error_of: Callable[[int], Tensor], nothing: Tensor, num_tokens: int) -> Tensor:
    """Squared errors of no token and of 1 to `num_tokens` tokens, never rising, (B, 1 + num_tokens).

    Those of 1, 2, 4, ... and all tokens are measured; between these lengths the error falls along a line in the logarithm of the length.

    Args:
        error_of: measures a length, (B,).
        nothing: (B,) the error of no token; that of one token counts where it is larger.
    """
    measured = doubling(num_tokens)
    all_lengths = _between(torch.stack([error_of(n) for n in measured], 1), measured)
    return torch.cat([torch.maximum(nothing[:, None], all_lengths[:, :1]), all_lengths], 1)


def doubling(num_tokens: int) -> list[int]:
    """1, 2, 4, ... and `num_tokens`."""
    return sorted({2**i for i in range(num_tokens.bit_length())} | {num_tokens})


def _between(errors: Tensor, measured: Sequence[int]) -> Tensor:
    """Errors (B, len(measured)) at these lengths to those at all lengths (B, N), never rising."""
    octaves = torch.tensor(measured, dtype=torch.float64, device=errors.device).log2()
    lengths = torch.arange(1, measured[-1] + 1, dtype=torch.float64, device=errors.device).log2()
    right = torch.searchsorted(octaves, lengths).clamp(1, max(1, len(measured) - 1))
    if len(measured) == 1:
        return errors
    part = ((lengths - octaves[right - 1]) / (octaves[right] - octaves[right - 1])).float()
    return torch.lerp(errors[:, right - 1], errors[:, right], part).cummin(1).values


def squared_errors(wanted: Tensor, pictures: Tensor) -> Tensor:
    """(B,) of pictures, sums over all pixels."""
    return (wanted - pictures).square().flatten(1).sum(1)


def mean_colour_errors(wanted: Tensor) -> Tensor:
    """(B,) of no token, which stands for each picture's mean colour."""
    return squared_errors(wanted, wanted.mean((2, 3), keepdim=True))
