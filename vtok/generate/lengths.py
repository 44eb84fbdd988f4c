"""How many tokens each string that is drawn shall have."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vtok.errors import ConfigError, LengthError

Lengths = int | Sequence[int] | Tensor


def lengths_of(num_tokens: Lengths | None, num: int, most: int) -> Tensor:
    """Lengths (num,) int64 on the processor, of one for all strings or one for each; of `most` where nothing is said.

    Raises:
        ConfigError: no string is asked.
        LengthError: no whole numbers, or another number of them than strings.
    """
    if num < 1:
        raise ConfigError(f"{num} strings asked; ask for one or more")
    wanted = torch.as_tensor(most if num_tokens is None else num_tokens, device="cpu")
    if wanted.ndim > 1 or wanted.numel() not in (1, num) or wanted.dtype.is_floating_point:
        raise LengthError(f"lengths are one whole number, or one for each of {num} strings; got {tuple(wanted.shape)} {wanted.dtype}")
    return wanted.long().expand(num)
