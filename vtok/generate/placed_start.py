"""The closed-form start of a generator of placed codes: what the tokenizer's codes are, and how often each stands at its position."""

import math

import numpy as np
import torch
from torch import Tensor

from vtok.data.token_shards.memory import Strings
from vtok.errors import UnsupportedError
from vtok.models.placed_codes import PlacedEmbeddings, PlacedHead
from vtok.models.quantizers.grouped import GroupedQuantizer
from vtok.tokenizers.base import Tokenizer

_UNSEEN = 0.5  # strings in which a code counts as found beside those in which it was


@torch.no_grad()
def fill_vectors(embeddings: PlacedEmbeddings, tokenizer: Tokenizer) -> None:
    """Describe each code by the principal components of its position's codes, by their squares, and by its length.

    Components of a picture hardly correlate, but their sizes do: where there is texture all are large. A head that is linear in the
    description can say so only with squares in it. Each number has mean 0 and standard deviation 1 over the codes of a position.

    Raises:
        UnsupportedError: all positions of the tokenizer share their codes.
    """
    quantizer = getattr(tokenizer, "quantizer", None)
    if not isinstance(quantizer, GroupedQuantizer):
        raise UnsupportedError(
            f'codes = "placed" is for strings with a codebook at each position, {tokenizer.family} has none; use "shared"'
        )
    for place, (_, table) in enumerate(quantizer.positions()):
        embeddings.vectors[place] = described(table, embeddings.vectors.shape[2])


def described(codes: Tensor, rank: int) -> Tensor:
    """Codes (V, w) as numbers (V, rank): two thirds are components, as far as they go, then come squares and the length's logarithm."""
    centred = codes - codes.mean(0)
    strengths, directions = torch.linalg.eigh(centred.mT @ centred)  # rising
    components = (centred @ directions)[:, strengths > 1e-8 * strengths[-1]].flip(1)
    components = components[:, : math.ceil(2 * (rank - 1) / 3)]
    length = codes.square().sum(1, keepdim=True).clamp(min=1e-12).log()
    found = torch.cat([components, components[:, : rank - 1 - components.shape[1]].square(), length], 1)
    found = (found - found.mean(0)) / found.std(0).clamp(min=1e-6)
    return torch.cat([found, found.new_zeros(len(found), rank - found.shape[1])], 1)


@torch.no_grad()
def fill_frequencies(head: PlacedHead, strings: Strings) -> None:
    """Let the logits be logarithms of how often each code stands at its position of the strings to train on: the order-0 entropy."""
    num_tokens, num_codes = head.frequencies.shape
    chosen = np.flatnonzero(~strings.held_out) if not strings.held_out.all() else np.arange(len(strings))
    for place in range(num_tokens):
        found = np.bincount(strings.ids[chosen, place, 0], minlength=num_codes).astype(np.float64) + _UNSEEN
        head.frequencies[place] = torch.from_numpy(np.log(found / found.sum())).float()
