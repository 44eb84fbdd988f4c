"""Frozen embeddings of token strings: what a string holds of a picture, before any decoder has seen it."""

from itertools import chain
from typing import Literal, assert_never

import torch
from torch import Tensor, nn

from vtok.tokenizers.base import Tokenizer, Tokens
from vtok.tokenizers.latents import AnyTokenizer, Latents, LatentTokenizer

Pooling = Literal["mean", "concatenated"]
Strings = Tokens | Latents


@torch.no_grad()
def embed(tokenizer: AnyTokenizer, strings: Strings, num_tokens: int, pooling: Pooling) -> Tensor:
    """What the first tokens of each string say, as one vector a string.

    The vectors are those that the tokenizer gives to its decoder: of tokens what `lookup` makes of the prefix, with whatever it puts in the
    place of absent positions; of latents the most probable ones, zero where they are absent.

    Args:
        tokenizer: the one that made the strings; a `Tokenizer` goes with `Tokens`, a `LatentTokenizer` with `Latents`.
        strings: B of them, on any device.
        num_tokens: of the prefix.
        pooling: "mean" over positions, or all positions "concatenated".

    Returns:
        (B, F) float32 on the CPU.

    Raises:
        LengthError: a length that does not decode.
        ValueError: strings of the other kind.
    """
    vectors = _vectors(tokenizer, strings, num_tokens).float()  # (B, N, D)
    match pooling:
        case "mean":
            return vectors.mean(1).cpu()
        case "concatenated":
            return vectors.flatten(1).cpu()
        case _:
            assert_never(pooling)


def encode(tokenizer: AnyTokenizer, images: Tensor) -> Strings:
    """Images (B, 3, *input_size) float in [0, 1] to strings at full length, on the CPU."""
    images = images.to(device_of(tokenizer))
    if isinstance(tokenizer, Tokenizer):
        return tokenizer.encode(images).to("cpu")
    latents = tokenizer.encode(images)
    return latents.at(latents.mode().cpu())


def join(parts: list[Strings]) -> Strings:
    """Batches of strings of one tokenizer as one.

    Raises:
        ValueError: no parts, or parts that do not go together.
    """
    tokens, latents = [p for p in parts if isinstance(p, Tokens)], [p for p in parts if isinstance(p, Latents)]
    if tokens and latents:
        raise ValueError("tokens and latents cannot be joined")
    return Latents.cat(latents) if latents else Tokens.cat(tokens)


def device_of(tokenizer: nn.Module) -> torch.device:
    """Where the tokenizer's tensors are."""
    return next((tensor.device for tensor in chain(tokenizer.parameters(), tokenizer.buffers())), torch.device("cpu"))


def _vectors(tokenizer: AnyTokenizer, strings: Strings, num_tokens: int) -> Tensor:
    if isinstance(tokenizer, Tokenizer) and isinstance(strings, Tokens):
        cut = strings.prefix(num_tokens).to(device_of(tokenizer))
        return tokenizer.lookup(cut.ids, cut.lengths)
    if isinstance(tokenizer, LatentTokenizer) and isinstance(strings, Latents):
        latents = strings.prefix(num_tokens)
        vectors, lengths = latents.mode(), latents.all_lengths()
        present = torch.arange(vectors.shape[1], device=lengths.device) < lengths[:, None]  # (B, N)
        return vectors * present[..., None]
    raise ValueError(f"{type(tokenizer).__name__} does not read {type(strings).__name__}")
