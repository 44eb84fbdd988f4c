"""Networks for strings of one codebook."""

from collections.abc import Mapping
from typing import Any

from vtok.tokenizers.spec import TokenSpec


def check_strings(spec: Mapping[str, Any], num_codes: int, num_tokens: int) -> None:
    """Raise `ValueError` unless a network of so many codes and tokens fits strings of a spec."""
    own = TokenSpec.from_json(spec)
    if own.codebook_sizes != (num_codes,) or own.max_tokens != num_tokens:
        raise ValueError(
            f"a network of {num_tokens} tokens of one codebook of {num_codes} codes does not fit strings of {own.max_tokens} tokens and "
            f"codebooks of {', '.join(map(str, own.codebook_sizes))}"
        )
