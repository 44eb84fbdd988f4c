"""Strings that no picture was encoded to, such as generated ones, as `.vtok` files of one tile each."""

from dataclasses import replace

import numpy as np

from vtok.codec.container import TokenFile
from vtok.tokenizers.base import Tokenizer, Tokens


def files_of(tokens: Tokens, tokenizer: Tokenizer) -> list[TokenFile]:
    """A file for each string; it decodes like that of a picture as large as the tokenizer's input.

    Raises:
        ValueError: ids that no codebook has.
    """
    spec = replace(tokenizer.spec, grid=None, scales=None)
    digest = bytes.fromhex(tokenizer.code_digest)[:4]
    lengths, ids = tokens.lengths.cpu().numpy(), tokens.ids.cpu().numpy()
    return [
        TokenFile(spec, digest, spec.input_size, False, lengths[i : i + 1], np.ascontiguousarray(ids[i : i + 1, : lengths[i]]))
        for i in range(len(lengths))
    ]
